{{/* Metadata of an exchange, queue or binding, given the context and its name at the broker. They
outlive the release: with a queue its messages would go, with an exchange what others publish. */}}
{{- define "withdrawals-worker.topologyMetadata" }}
{{- $context := first . }}
{{- $suffix := last . | replace "." "-" | trimPrefix "withdrawals" }}
metadata:
  name: {{ include "withdrawals-worker.fullname" $context }}{{ $suffix }}
  namespace: {{ $context.Release.Namespace }}
  labels:
    {{- include "withdrawals-worker.labels" $context | nindent 4 }}
  annotations:
    helm.sh/resource-policy: keep
    {{- with $context.Values.rabbitmqTopology.annotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}

{{/* The broker and virtual host that an exchange, queue or binding is for. */}}
{{- define "withdrawals-worker.topologyBroker" -}}
{{- with .Values.rabbitmqTopology -}}
vhost: {{ .vhost | quote }}
rabbitmqClusterReference:
  {{- with .cluster.name }}
  name: {{ . }}
  {{- end }}
  {{- with .cluster.connectionSecret }}
  connectionSecret:
    name: {{ . }}
  {{- end }}
  {{- with .cluster.namespace }}
  namespace: {{ . }}
  {{- end }}
{{- end }}
{{- end }}
