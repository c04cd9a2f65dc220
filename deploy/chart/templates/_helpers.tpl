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

{{/* Name, namespace and labels of an object beside the Deployment. */}}
{{- define "gateway.metadata" -}}
name: {{ include "gateway.fullname" . }}
namespace: {{ include "gateway.namespace" . }}
labels:
  {{- include "gateway.labels" . | nindent 2 }}
{{- end -}}

{{- define "gateway.image" -}}
{{- with .Values.gateway.image -}}
{{- $tag := .tag | default $.Chart.AppVersion | toString -}}
{{- printf "%s:%s" .repository $tag -}}
{{- with .digest }}@{{ . }}{{ end -}}
{{- end -}}
{{- end -}}

{{/* The namespaces of the sandboxes, as a JSON list. */}}
{{- define "gateway.sandboxNamespaces" -}}
{{- $names := list -}}
{{- range splitList "," .Values.gateway.dataplaneNamespace -}}
{{- $names = append $names (trim .) -}}
{{- end -}}
{{- $names | uniq | toJson -}}
{{- end -}}

{{/* The name of the Secret with the keys of signed routes; empty without keys. */}}
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

{{/* Secrets that are mounted as files, as a JSON list of name and secretName. Files, so that neither the pod's spec nor the
environment shows them. */}}
{{- define "gateway.mounts" -}}
{{- $mounts := list -}}
{{- with include "gateway.keysSecret" . -}}
{{- $mounts = append $mounts (dict "name" "access-keys" "secretName" .) -}}
{{- end -}}
{{- if .Values.renew.enabled -}}
{{- $secret := required "renew.existingSecret: needed with renew.enabled: a Secret with the address of Redis as key dsn" .Values.renew.existingSecret -}}
{{- $mounts = append $mounts (dict "name" "renew" "secretName" $secret) -}}
{{- end -}}
{{- with .Values.adminToken.existingSecret -}}
{{- $mounts = append $mounts (dict "name" "admin-token" "secretName" .) -}}
{{- end -}}
{{- with .Values.gateway.tls.existingSecret -}}
{{- $mounts = append $mounts (dict "name" "tls" "secretName" .) -}}
{{- end -}}
{{- $mounts | toJson -}}
{{- end -}}

{{/* Whether the cluster serves PodMonitors. */}}
{{- define "gateway.hasPodMonitor" -}}
{{- if .Capabilities.APIVersions.Has "monitoring.coreos.com/v1/PodMonitor" }}true{{ end -}}
{{- end -}}
