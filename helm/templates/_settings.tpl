{{/* The worker's settings as its variables, one `NAME: "value"` a line. Every key of `settings` is a
variable: WORKER_, the path in capitals, two underscores between levels. What is empty is left out,
as the worker reads it, and what the worker takes by itself (_defaults.tpl): so that no default wins
over what the Secret says. */}}
{{- define "withdrawals-worker.variables" -}}
{{- $settings := deepCopy .Values.settings }}
{{- if .Values.rabbitmqTopology.enabled }}
{{- $_ := set $settings.rabbitmq "declare" false }}
{{- end }}
{{- $defaults := include "withdrawals-worker.defaults" . | fromYaml }}
{{- include "withdrawals-worker.variablesBelow" (dict "prefix" "WORKER_" "tree" $settings "defaults" $defaults) }}
WORKER_SECRETS_DIR: {{ include "withdrawals-worker.secretsDir" . | quote }}
{{- if eq .Values.ledger.type "sqlite" }}
WORKER_LEDGER__URL: "sqlite:////var/lib/withdrawals/withdrawals.db"
{{- else }}
{{- /* So that a SQLite URL in the Secret, a ledger for each pod, ends in an error. */}}
WORKER_LEDGER__SHARED: "true"
{{- end }}
{{- if .Values.secrets.upvestPrivateKey.key }}
WORKER_UPVEST__PRIVATE_KEY_FILE: {{ printf "%s/upvest-private-key.pem" (include "withdrawals-worker.secretsDir" .) | quote }}
{{- end }}
{{- if eq (include "withdrawals-worker.tracing" .) "true" }}
{{- with .Values.otlpEndpoint }}
OTEL_EXPORTER_OTLP_ENDPOINT: {{ . | quote }}
{{- end }}
{{- end }}
{{- end }}

{{/* Of the settings, named by what they say. */}}
{{- define "withdrawals-worker.configMapName" -}}
{{ include "withdrawals-worker.fullname" . | trunc 43 | trimSuffix "-" }}-settings-{{ include "withdrawals-worker.variables" . | sha256sum | trunc 10 }}
{{- end }}

{{- define "withdrawals-worker.variablesBelow" -}}
{{- range $key, $value := .tree }}
{{- $name := printf "%s%s" $.prefix (snakecase $key | upper) }}
{{- if kindIs "map" $value }}
{{- include "withdrawals-worker.variablesBelow" (dict "prefix" (printf "%s__" $name) "tree" $value "defaults" $.defaults) }}
{{- else if not (or (kindIs "invalid" $value) (eq (toString $value) "")) }}
{{- /* toJson, since a large number is 7.776e+06 otherwise. */}}
{{- $text := kindIs "string" $value | ternary $value (toJson $value) }}
{{- if ne $text (get $.defaults $name) }}
{{ $name }}: {{ $text | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "withdrawals-worker.secretsDir" -}}
/run/secrets/withdrawals-worker
{{- end }}

{{/* "true" where spans are sent. */}}
{{- define "withdrawals-worker.tracing" -}}
{{- dig "tracing" "enabled" false .Values.settings }}
{{- end }}

{{/* A duration in whole seconds, rounded up: a number, or a text as in `15`, `0.3` or `PT1M30S`. */}}
{{- define "withdrawals-worker.seconds" -}}
{{- $text := kindIs "string" . | ternary . (toJson .) }}
{{- if not (hasPrefix "P" $text) }}
{{- $text | float64 | ceil }}
{{- else }}
{{- $total := 0.0 }}
{{- range $unit, $seconds := dict "W" 604800 "D" 86400 "H" 3600 "S" 1 }}
{{- $total = addf $total (mulf $seconds (regexFind (printf "[0-9.]+%s" $unit) $text | trimSuffix $unit | default "0" | float64)) }}
{{- end }}
{{- /* No months: an M stands for minutes. */}}
{{- $total = addf $total (mulf 60 (regexFind "[0-9]+M" $text | trimSuffix "M" | default "0" | float64)) }}
{{- ceil $total }}
{{- end }}
{{- end }}

{{/* How long a pod may take to stop: its address is forgotten, work in hand ends, connections are
closed. */}}
{{- define "withdrawals-worker.gracePeriod" -}}
{{- $drain := include "withdrawals-worker.seconds" .Values.settings.shutdownTimeout | int }}
{{- add (.Values.webhooks.enabled | ternary .Values.preStopSeconds 0) $drain 10 }}
{{- end }}
