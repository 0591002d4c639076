{{/* How a worker's metrics are read: the endpoint of a PodMonitor or a ServiceMonitor. */}}
{{- define "withdrawals-worker.scrape" -}}
port: http
path: /metrics
{{- with .interval }}
interval: {{ . }}
{{- end }}
{{- with .scrapeTimeout }}
scrapeTimeout: {{ . }}
{{- end }}
{{- with .relabelings }}
relabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .metricRelabelings }}
metricRelabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The groups of files/alerts.yaml, with the address of the runbook and the labels that the values
add to each alert. The file is read, never rendered: the braces in it are Prometheus' own. */}}
{{- define "withdrawals-worker.ruleGroups" -}}
{{- $values := .Values.prometheusRule }}
{{- $groups := (.Files.Get "files/alerts.yaml" | fromYaml).groups }}
{{- range $group := $groups }}
{{- range $rule := $group.rules }}
{{- if $rule.alert }}
{{- $_ := set $rule "labels" (merge (deepCopy $values.alertLabels) ($rule.labels | default dict)) }}
{{- if $values.runbookBaseUrl }}
{{- $section := regexReplaceAll "^[^#]*" $rule.annotations.runbook "" }}
{{- $_ := set $rule.annotations "runbook_url" (print $values.runbookBaseUrl $section) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- toYaml $groups }}
{{- end }}
