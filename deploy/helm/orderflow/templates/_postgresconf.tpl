{{/*
postgresql.conf of the bundled server. Its checksum is an annotation of the pod, so
nothing may go in here that changes with what the server need not know.
*/}}
{{- define "orderflow.postgres.conf" -}}
{{- $memory := include "orderflow.postgres.memory" . | int64 -}}
{{- $disk := include "orderflow.mib" (include "orderflow.postgres.disk" .) | int64 -}}
{{- $connections := int64 .Values.postgres.maxConnections -}}
{{- $wal := max 128 (min 4096 (div $disk 8)) -}}
# What initdb chose for this cluster (locale, time zone), then ours. ALTER SYSTEM still wins.
include_if_exists '{{ include "orderflow.postgres.pgdata" . }}/postgresql.conf'

listen_addresses = '*'
max_connections = {{ $connections }}

{{- if .Values.postgres.tls.enabled }}

# Read again at each reload, which the passwords container asks for when the Secret changes.
ssl = on
ssl_cert_file = '/etc/orderflow/tls/tls.crt'
ssl_key_file = '/etc/orderflow/tls/tls.key'
{{- end }}

# Memory, from a limit of {{ $memory }} MiB.
shared_buffers = {{ div $memory 4 }}MB
effective_cache_size = {{ div (mul $memory 5) 8 }}MB
maintenance_work_mem = {{ max 16 (min 1024 (div $memory 16)) }}MB
work_mem = {{ max 1 (min 64 (div $memory (mul 4 $connections))) }}MB
# A node with huge pages, and a pod without a share in them, would end in SIGBUS.
huge_pages = off

# Durability is the product: what is answered 201 is on disk.
fsync = on
synchronous_commit = on
full_page_writes = on

# Checkpoints by time, with at most {{ $wal }} MB of WAL on a volume of {{ $disk }} MiB.
checkpoint_timeout = 10min
max_wal_size = {{ $wal }}MB
min_wal_size = {{ max 80 (div $wal 4) }}MB
{{- /*
`on` is pglz, which costs three times the CPU of lz4; the official images have lz4. PostgreSQL 14 knows no other: it would not start.
*/}}
wal_compression = {{ ternary "on" "lz4" (regexMatch "(postgres(ql)?:|pg)14([^0-9]|$)" (regexReplaceAll "@.*$" .Values.postgres.image "")) }}

# A queue's rows live for moments: vacuum early and without pausing.
autovacuum_naptime = 10s
autovacuum_vacuum_cost_limit = 2000

# Short statements on a network volume.
random_page_cost = 1.1
jit = off

# A pod that vanished must not keep its locks: look for dead clients.
tcp_keepalives_idle = 30
tcp_keepalives_interval = 10
tcp_keepalives_count = 3
client_connection_check_interval = 10s

log_line_prefix = '%m [%p] %q%u@%d %a '
log_checkpoints = on
log_lock_waits = on
log_autovacuum_min_duration = 10s
log_min_duration_statement = 1s
# Slow statements are logged without their values: those are customers' names.
log_parameter_max_length = 0
{{- with .Values.postgres.settings }}

# postgres.settings
{{- range $name, $value := . }}
{{- $text := toString $value }}
{{- if kindIs "float64" $value }}{{ $text = ternary (printf "%.0f" $value) $text (eq (floor $value) $value) }}{{ end }}
{{- /* Postgres reads escapes between the quotes. */}}
{{ $name }} = '{{ $text | replace "\\" "\\\\" | replace "'" "''" }}'
{{- end }}
{{- end }}
{{- end -}}
