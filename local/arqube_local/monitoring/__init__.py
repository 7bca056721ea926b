"""What people watch Arqube with: the reference of its metrics, and pictures of its dashboards."""
