{{- define "gateway.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "gateway.namespace" -}}
{{- .Values.namespaceOverride | default "opensandbox-system" -}}
{{- end -}}

{{/* A Deployment's selector cannot be changed: these two labels are the existing chart's. */}}
{{- define "gateway.selector" -}}
app.kubernetes.io/name: {{ include "gateway.fullname" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "gateway.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "gateway.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/component: ingress-gateway
app.kubernetes.io/part-of: opensandbox
{{- end -}}

{{- define "gateway.image" -}}
{{- $tag := .Values.gateway.image.tag | default (printf "release-%s" .Chart.AppVersion) | toString -}}
{{- if regexMatch "^[0-9]+\\.[0-9]+\\.[0-9]+" $tag -}}
{{- $tag = printf "v%s" $tag -}}
{{- end -}}
{{- printf "%s:%s" .Values.gateway.image.repository $tag -}}
{{- end -}}

{{- define "gateway.keysSecret" -}}
{{- with .Values.gateway.secureAccess -}}
{{- if and .keys .existingSecret -}}
{{- fail "gateway.secureAccess: set either keys or existingSecret, not both" -}}
{{- end -}}
{{- if .existingSecret -}}
{{- .existingSecret -}}
{{- else if .keys -}}
{{- printf "%s-secure-access" (include "gateway.fullname" $) -}}
{{- end -}}
{{- end -}}
{{- end -}}
