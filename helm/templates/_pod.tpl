{{/* The pod of a worker, the same in Deployment and StatefulSet. */}}
{{- define "withdrawals-worker.pod" -}}
{{- $sqlite := eq .Values.ledger.type "sqlite" -}}
metadata:
  labels:
    {{- include "withdrawals-worker.podLabels" (list . "worker") | nindent 4 }}
  annotations:
    # Of the settings below: pods with the same line have the same settings.
    checksum/config: {{ include "withdrawals-worker.variables" . | sha256sum }}
    kubectl.kubernetes.io/default-container: worker
    {{- with .Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  {{- include "withdrawals-worker.podBasics" . | nindent 2 }}
  serviceAccountName: {{ include "withdrawals-worker.serviceAccountName" . }}
  terminationGracePeriodSeconds: {{ include "withdrawals-worker.gracePeriod" . }}
  {{- if not $sqlite }}
  {{- with .Values.topologySpreadConstraints }}
  topologySpreadConstraints:
    {{- range . }}
    {{- $spread := deepCopy . }}
    {{- if not $spread.labelSelector }}
    {{- $_ := set $spread "labelSelector" (dict "matchLabels" (include "withdrawals-worker.selectorLabels" $ | fromYaml)) }}
    {{- /* Counted for each version alone, so that an update ends as evenly as it began. */}}
    {{- $_ := set $spread "matchLabelKeys" ($spread.matchLabelKeys | default (list "pod-template-hash")) }}
    {{- end }}
    {{- toYaml (list $spread) | nindent 4 }}
    {{- end }}
  {{- end }}
  {{- end }}
  {{- $migrates := and (not $sqlite) (eq .Values.migration.mode "init") }}
  {{- $owner := and $migrates (not (empty .Values.migration.ledgerUrl.key)) }}
  {{- if or .Values.extraInitContainers $migrates }}
  initContainers:
    {{- with .Values.extraInitContainers }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
    {{- if $migrates }}
    - name: migrate
      # A database that is away is waited for; after that the pod's status says why it does not start.
      args: [migrate, --wait, {{ .Values.migration.waitSeconds | quote }}]
      {{- include "withdrawals-worker.container" (list . ($owner | ternary "migration-secrets" "secrets")) | nindent 6 }}
      resources:
        {{- toYaml (default .Values.resources .Values.migration.resources) | nindent 8 }}
    {{- end }}
  {{- end }}
  containers:
    - name: worker
      args: [run]
      {{- include "withdrawals-worker.container" (list . "secrets") | nindent 6 }}
        {{- if $sqlite }}
        - name: ledger
          mountPath: /var/lib/withdrawals
        {{- end }}
      ports:
        - name: http
          containerPort: {{ .Values.settings.http.port }}
          protocol: TCP
        {{- if .Values.webhooks.enabled }}
        - name: webhooks
          containerPort: {{ .Values.settings.webhooks.port }}
          protocol: TCP
        {{- end }}
      startupProbe:
        httpGet:
          path: /livez
          port: http
        {{- toYaml .Values.startupProbe | nindent 8 }}
      livenessProbe:
        httpGet:
          path: /livez
          port: http
        {{- toYaml .Values.livenessProbe | nindent 8 }}
      readinessProbe:
        httpGet:
          path: /readyz
          port: http
        {{- toYaml .Values.readinessProbe | nindent 8 }}
      {{- if and .Values.webhooks.enabled (gt (int .Values.preStopSeconds) 0) }}
      lifecycle:
        preStop:
          exec:
            command: [sleep, {{ .Values.preStopSeconds | quote }}]
      {{- end }}
      resources:
        {{- toYaml .Values.resources | nindent 8 }}
    {{- with .Values.extraContainers }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  volumes:
    {{- include "withdrawals-worker.secrets" (list . "secrets" .Values.secrets.ledgerUrl) | nindent 4 }}
    {{- if $owner }}
    # For the migration alone: its user may change the ledger's tables, the worker's need not.
    {{- include "withdrawals-worker.secrets" (list . "migration-secrets" .Values.migration.ledgerUrl) | nindent 4 }}
    {{- end }}
    {{- include "withdrawals-worker.volumes" . | nindent 4 }}
    {{- if $sqlite }}
    - name: ledger
      persistentVolumeClaim:
        claimName: {{ include "withdrawals-worker.claimName" . }}
    {{- end }}
{{- end }}

{{/* What every pod of ours has: workers, migration, test. */}}
{{- define "withdrawals-worker.podBasics" -}}
automountServiceAccountToken: false
# Kubernetes would describe every Service by variables, and some of them could look like settings.
enableServiceLinks: false
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.hostAliases }}
hostAliases:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.dnsConfig }}
dnsConfig:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* What every container of our image has, given the context and the volume of its secrets. */}}
{{- define "withdrawals-worker.container" -}}
{{- $context := first . -}}
image: {{ include "withdrawals-worker.image" $context }}
imagePullPolicy: {{ $context.Values.image.pullPolicy }}
# What is last in the log becomes the reason in the pod's status.
terminationMessagePolicy: FallbackToLogsOnError
securityContext:
  {{- toYaml $context.Values.securityContext | nindent 2 }}
envFrom:
  {{- with $context.Values.extraEnvFrom }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  - configMapRef:
      name: {{ include "withdrawals-worker.configMapName" $context }}
{{- with include "withdrawals-worker.env" $context | trim }}
env:
  {{- . | nindent 2 }}
{{- end }}
volumeMounts:
  {{- include "withdrawals-worker.mounts" (list $context (last .)) | nindent 2 }}
{{- end }}

{{/* Who we are, for spans, and what the user adds. A name stands once: the user's, where both say it. */}}
{{- define "withdrawals-worker.env" }}
{{- $given := list }}
{{- range .Values.extraEnv }}
{{- $given = append $given .name }}
{{- end }}
{{- if eq (include "withdrawals-worker.tracing" .) "true" }}
{{- range (list
  (dict "name" "POD_NAME" "valueFrom" (dict "fieldRef" (dict "fieldPath" "metadata.name")))
  (dict "name" "POD_NAMESPACE" "valueFrom" (dict "fieldRef" (dict "fieldPath" "metadata.namespace")))
  (dict "name" "OTEL_RESOURCE_ATTRIBUTES" "value" "k8s.namespace.name=$(POD_NAMESPACE),k8s.pod.name=$(POD_NAME)")
) }}
{{- if not (has .name $given) }}
{{ toYaml (list .) }}
{{- end }}
{{- end }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "withdrawals-worker.mounts" -}}
{{- $context := first . -}}
- name: {{ last . }}
  mountPath: {{ include "withdrawals-worker.secretsDir" $context }}
  readOnly: true
- name: tmp
  mountPath: /tmp
{{- with $context.Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The volume of the secrets, given the context, its name, and where the ledger's URL is. */}}
{{- define "withdrawals-worker.secrets" -}}
{{- $context := first . -}}
- name: {{ index . 1 }}
  projected:
    # Readable by the pod's group alone, which is fsGroup.
    defaultMode: 0440
    sources:
      - secret:
          name: {{ include "withdrawals-worker.secretName" $context }}
      # What is listed by its key has to be there: without it the pod does not start, and its events
      # say which is missing.
      {{- include "withdrawals-worker.secretKey" (list $context $context.Values.secrets.rabbitmqUrl "WORKER_RABBITMQ__URL") | nindent 6 }}
      {{- if eq $context.Values.ledger.type "postgresql" }}
      {{- include "withdrawals-worker.secretKey" (list $context (last .) "WORKER_LEDGER__URL") | nindent 6 }}
      {{- end }}
      {{- if $context.Values.secrets.upvestPrivateKey.key }}
      {{- include "withdrawals-worker.secretKey" (list $context $context.Values.secrets.upvestPrivateKey "upvest-private-key.pem") | nindent 6 }}
      {{- end }}
{{- end }}

{{/* What else every pod of ours has for volumes. */}}
{{- define "withdrawals-worker.volumes" -}}
- name: tmp
  emptyDir:
    sizeLimit: 64Mi
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* One key of a Secret as a file, given the context, the Secret's name and key, and the file's name. */}}
{{- define "withdrawals-worker.secretKey" -}}
{{- $from := index . 1 -}}
- secret:
    name: {{ default (include "withdrawals-worker.secretName" (first .)) $from.name }}
    items:
      - key: {{ $from.key }}
        path: {{ last . }}
{{- end }}
