{{- define "vela-workflow.name" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 53 | trimSuffix "-" -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 53 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 53 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "vela-workflow.selector" -}}
app.kubernetes.io/name: vela-workflow
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "vela-workflow.labels" -}}
{{ include "vela-workflow.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
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
{{- .Values.rbac.namespaces | default (list .Release.Namespace) | uniq | toJson -}}
{{- end -}}

{{- define "vela-workflow.env" -}}
VELA_WORKFLOW_SYSTEM_NAMESPACE: {{ .Release.Namespace | quote }}
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
{{- printf "%s-%s" (include "vela-workflow.name" .) .Release.Namespace -}}
{{- end -}}
