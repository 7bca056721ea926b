{{/* Name of the operator's objects. */}}
{{- define "arqube.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else -}}
{{- printf "%s-operator" (.Release.Name | trunc 53 | trimSuffix "-") -}}
{{- end -}}
{{- end -}}

{{/* Name of objects that belong to the whole cluster: two releases of one name may live in two namespaces. */}}
{{- define "arqube.clusterName" -}}
{{- printf "%s:%s" .Release.Namespace (include "arqube.fullname" .) -}}
{{- end -}}

{{- define "arqube.selectorLabels" -}}
app.kubernetes.io/name: arqube-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* Labels of what is not the operator itself. */}}
{{- define "arqube.commonLabels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: arqube
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "arqube.labels" -}}
{{ include "arqube.selectorLabels" . }}
{{ include "arqube.commonLabels" . }}
{{- end -}}

{{/* The pod of `helm test` is none of the operator's. */}}
{{- define "arqube.testSelectorLabels" -}}
app.kubernetes.io/name: arqube-test
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "arqube.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "arqube.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{/* Name of an image, from a list of its values and the chart's appVersion. */}}
{{- define "arqube.image" -}}
{{- $image := index . 0 -}}
{{- with $image.registry }}{{ . }}/{{ end -}}
{{- $image.repository -}}
{{- if $image.digest -}}
@{{ $image.digest }}
{{- else -}}
:{{ $image.tag | default (index . 1) }}
{{- end -}}
{{- end -}}
