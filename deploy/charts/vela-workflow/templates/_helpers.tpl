{{- define "vela-workflow.name" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 53 | trimSuffix "-" -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 53 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 53 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* The system namespace, where all objects of the chart are. */}}
{{- define "vela-workflow.namespace" -}}
{{- .Values.namespaceOverride | default .Release.Namespace -}}
{{- end -}}

{{- define "vela-workflow.selector" -}}
app.kubernetes.io/name: vela-workflow
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* Labels of an object: those of the chart, which nothing overrides, then further ones, then `commonLabels`. */}}
{{- define "vela-workflow.labelsWith" -}}
{{- $root := index . 0 -}}
{{- $own := include "vela-workflow.selector" $root | fromYaml -}}
{{- $own = merge $own (dict "app.kubernetes.io/version" $root.Chart.AppVersion "app.kubernetes.io/managed-by" $root.Release.Service) -}}
{{- $own = merge $own (dict "helm.sh/chart" (printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_")) -}}
{{- merge (dict) $own (index . 1) $root.Values.commonLabels | toYaml -}}
{{- end -}}

{{- define "vela-workflow.labels" -}}
{{- include "vela-workflow.labelsWith" (list . (dict)) -}}
{{- end -}}

{{/* Labels of what only helps the release, with the name of that: no Service and no budget of the operator may find its Pods. */}}
{{- define "vela-workflow.helperLabels" -}}
{{- $labels := include "vela-workflow.labels" (index . 0) | fromYaml -}}
{{- set $labels "app.kubernetes.io/name" (printf "vela-workflow-%s" (index . 1)) | toYaml -}}
{{- end -}}

{{/* What all Pods of the chart have: how images are pulled, and where they may run. */}}
{{- define "vela-workflow.pod" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "vela-workflow.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "vela-workflow.name" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "vela-workflow.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{/* The namespaces of the scope "namespaces", as a JSON list. */}}
{{- define "vela-workflow.namespaces" -}}
{{- .Values.rbac.namespaces | default (list (include "vela-workflow.namespace" .)) | uniq | toJson -}}
{{- end -}}

{{- define "vela-workflow.env" -}}
VELA_WORKFLOW_SYSTEM_NAMESPACE: {{ include "vela-workflow.namespace" . | quote }}
{{- if eq .Values.rbac.scope "namespaces" }}
VELA_WORKFLOW_NAMESPACE: {{ include "vela-workflow.namespaces" . | fromJsonArray | join "," | quote }}
{{- end }}
VELA_WORKFLOW_LEADER_ELECTION: {{ .Values.leaderElection.enabled | quote }}
VELA_WORKFLOW_LEASE_NAME: {{ include "vela-workflow.name" . | quote }}
VELA_WORKFLOW_LEASE_DURATION: {{ .Values.leaderElection.leaseDuration | quote }}
VELA_WORKFLOW_LEASE_TRUSTED: {{ .Values.leaderElection.leaseTrusted | quote }}
VELA_WORKFLOW_LEASE_RETRY: {{ .Values.leaderElection.leaseRetry | quote }}
VELA_WORKFLOW_SHARDS: {{ .Values.sharding.shards | quote }}
VELA_WORKFLOW_LOG_LEVEL: {{ .Values.logging.level | quote }}
VELA_WORKFLOW_LOG_FORMAT: {{ .Values.logging.format | quote }}
VELA_WORKFLOW_METRICS_PORT: {{ .Values.metrics.port | quote }}
VELA_WORKFLOW_METRICS_ADDRESS: {{ .Values.metrics.address | quote }}
{{- with .Values.tracing.endpoint }}
VELA_WORKFLOW_TRACE_ENDPOINT: {{ . | quote }}
{{- end }}
{{- if .Values.admission.enabled }}
VELA_WORKFLOW_ADMISSION_PORT: {{ .Values.admission.port | quote }}
VELA_WORKFLOW_ADMISSION_SERVICE: {{ include "vela-workflow.name" . | quote }}
VELA_WORKFLOW_ADMISSION_UNKNOWN_TYPES: {{ .Values.admission.unknownTypes | quote }}
{{- if eq .Values.admission.certificate.source "cert-manager" }}
VELA_WORKFLOW_ADMISSION_DIRECTORY: /etc/vela-workflow/admission
{{- else }}
VELA_WORKFLOW_ADMISSION_SECRET: {{ printf "%s-admission" (include "vela-workflow.name" .) | quote }}
VELA_WORKFLOW_ADMISSION_CONFIGURATION: {{ include "vela-workflow.webhooks" . | quote }}
{{- end }}
{{- end }}
{{- range $key, $value := .Values.settings }}
VELA_WORKFLOW_{{ $key | snakecase | upper }}: {{ kindIs "string" $value | ternary $value (toJson $value) | quote }}
{{- end }}
{{- end -}}

{{/* Webhook configurations belong to the whole cluster, so their name tells the namespace. */}}
{{- define "vela-workflow.webhooks" -}}
{{- printf "%s-%s" (include "vela-workflow.name" .) (include "vela-workflow.namespace" .) -}}
{{- end -}}
