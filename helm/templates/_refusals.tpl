{{/* What does not fit together, a sentence each. The schema says the same first; this is for those
who skip it. */}}
{{- define "withdrawals-worker.refuse" -}}
{{- $external := .Values.externalSecrets.enabled }}
{{- $keda := .Values.keda.enabled }}
{{- if not (or .Values.existingSecret $external) }}
{{- fail "existingSecret is empty: name a Secret in the release's namespace that holds WORKER_RABBITMQ__URL, WORKER_LEDGER__URL and the credentials of a provider, or enable externalSecrets." }}
{{- end }}
{{- if not (regexMatch "^[a-z][a-z0-9-]*$" (include "withdrawals-worker.fullname" .)) }}
{{- fail (printf "The release would be named %s: names of Services begin with a letter and have no dots. Give it another name, or set fullnameOverride." (include "withdrawals-worker.fullname" .)) }}
{{- end }}
{{- if not (has .Values.ledger.type (list "postgresql" "sqlite")) }}
{{- fail (printf "ledger.type is %s: it has to be postgresql or sqlite." .Values.ledger.type) }}
{{- end }}
{{- if eq .Values.ledger.type "sqlite" }}
{{- if or (gt (int .Values.replicaCount) 1) .Values.autoscaling.enabled $keda }}
{{- fail "A SQLite ledger serves one worker: set replicaCount to 1 and leave autoscaling and keda off, or set ledger.type to postgresql." }}
{{- end }}
{{- end }}
{{- if eq .Values.ledger.type "postgresql" }}
{{- $none := "^0+%?$" }}
{{- if and (regexMatch $none (toString .Values.rollingUpdate.maxSurge)) (regexMatch $none (toString .Values.rollingUpdate.maxUnavailable)) }}
{{- fail "rollingUpdate.maxSurge and rollingUpdate.maxUnavailable are both 0: no worker could ever be replaced." }}
{{- end }}
{{- if ge (int .Values.minReadySeconds) (int .Values.progressDeadlineSeconds) }}
{{- fail (printf "minReadySeconds is %d and progressDeadlineSeconds %d: no update could end in time. The second has to be the larger." (int .Values.minReadySeconds) (int .Values.progressDeadlineSeconds)) }}
{{- end }}
{{- end }}
{{- if and .Values.autoscaling.enabled (gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas)) }}
{{- fail (printf "autoscaling.minReplicas is %d, more than the %d of autoscaling.maxReplicas." (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas)) }}
{{- end }}
{{- if and .Values.webhooks.enabled (eq (int .Values.settings.http.port) (int .Values.settings.webhooks.port)) }}
{{- fail (printf "settings.http.port and settings.webhooks.port are both %d: webhooks need a port of their own, or whoever delivers them could read the metrics." (int .Values.settings.http.port)) }}
{{- end }}
{{- if and .Values.autoscaling.enabled $keda }}
{{- fail "autoscaling and keda are both enabled: only one of them may set the number of workers." }}
{{- end }}
{{- if and $external (eq .Values.migration.mode "hook") }}
{{- fail "migration.mode is hook and externalSecrets is enabled: a hook runs before the Secret is made. Set migration.mode to init." }}
{{- end }}
{{- if .Values.webhooks.ingress.enabled }}
{{- if not (and .Values.webhooks.enabled .Values.webhooks.ingress.hosts) }}
{{- fail "webhooks.ingress is enabled: it needs webhooks.enabled, since it leads to their Service, and at least one of webhooks.ingress.hosts." }}
{{- end }}
{{- end }}
{{- if and .Values.secrets.upvestPrivateKey.key .Values.settings.upvest.privateKeyFile }}
{{- fail "secrets.upvestPrivateKey.key and settings.upvest.privateKeyFile are both given: the first sets the second." }}
{{- end }}
{{- if and .Values.podMonitor.enabled .Values.serviceMonitor.enabled }}
{{- fail "podMonitor and serviceMonitor are both enabled: every worker would be read twice and every sum doubled." }}
{{- end }}
{{- if $external }}
{{- if .Values.existingSecret }}
{{- fail "existingSecret is given and externalSecrets is enabled: either you bring the Secret, or External Secrets makes it." }}
{{- end }}
{{- if not .Values.externalSecrets.secretStoreRef.name }}
{{- fail "externalSecrets.secretStoreRef.name is empty: name the store that has the secrets." }}
{{- end }}
{{- if not (or .Values.externalSecrets.data .Values.externalSecrets.dataFrom) }}
{{- fail "externalSecrets.data and externalSecrets.dataFrom are empty: say where each secret is in the store." }}
{{- end }}
{{- end }}
{{- if .Values.rabbitmqTopology.enabled }}
{{- if eq (empty .Values.rabbitmqTopology.cluster.name) (empty .Values.rabbitmqTopology.cluster.connectionSecret) }}
{{- fail "rabbitmqTopology.cluster needs the name of the RabbitmqCluster or a connectionSecret, and not both." }}
{{- end }}
{{- end }}
{{- end }}
