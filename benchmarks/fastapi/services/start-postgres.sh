#!/bin/sh
# Starts PostgreSQL on the pod's volume; what a server before it has committed is there.
set -eu
if [ ! -d /data/database ]; then
    /opt/postgresql/initdb --pgdata=/data/new --username=app --auth=trust --encoding=UTF8 --no-locale
    echo "host all all all trust" >> /data/new/pg_hba.conf
    mv /data/new /data/database
fi
exec /opt/postgresql/postgres -D /data/database -c "listen_addresses=*" -c unix_socket_directories= -c max_connections=300
