{{/* The chart's name, or what stands in for it. */}}
{{- define "withdrawals-worker.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* The name of all objects: release and chart, said once where they are the same. At most 52
characters, so that what is appended to it still fits. */}}
{{- define "withdrawals-worker.fullname" -}}
{{- $name := include "withdrawals-worker.name" . }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* Labels of every object. */}}
{{- define "withdrawals-worker.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "withdrawals-worker.releaseLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* What every pod of the release has: workers, migration, test. The network policy goes by it. */}}
{{- define "withdrawals-worker.releaseLabels" -}}
app.kubernetes.io/name: {{ include "withdrawals-worker.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* What workers have, and no other pod. */}}
{{- define "withdrawals-worker.selectorLabels" -}}
{{ include "withdrawals-worker.releaseLabels" . }}
app.kubernetes.io/component: worker
{{- end }}

{{/* Labels of a pod, given the context and what it is. Not the chart's version: a pod is replaced when
its label changes. */}}
{{- define "withdrawals-worker.podLabels" -}}
{{- $context := first . -}}
{{ include "withdrawals-worker.releaseLabels" $context }}
app.kubernetes.io/component: {{ last . }}
app.kubernetes.io/version: {{ $context.Chart.AppVersion | quote }}
{{- with merge (deepCopy $context.Values.podLabels) $context.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "withdrawals-worker.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "withdrawals-worker.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* The Secret of the worker: the one that exists, or the one that External Secrets makes. */}}
{{- define "withdrawals-worker.secretName" -}}
{{- default (include "withdrawals-worker.fullname" .) .Values.existingSecret }}
{{- end }}

{{/* The volume of a SQLite ledger. */}}
{{- define "withdrawals-worker.claimName" -}}
{{- default (printf "%s-ledger" (include "withdrawals-worker.fullname" .)) .Values.persistence.existingClaim }}
{{- end }}

{{- define "withdrawals-worker.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}
