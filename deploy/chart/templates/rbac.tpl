{{- if .Values.rbac.create }}
{{- $all := .Values.gateway.allNamespaces }}
{{- $name := printf "%s-reader-full" (include "gateway.fullname" .) }}
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $all | ternary "ClusterRole" "Role" }}
metadata:
  name: {{ $name }}
  {{- if not $all }}
  namespace: {{ .Values.gateway.dataplaneNamespace }}
  {{- end }}
  labels:
    {{- include "gateway.labels" . | nindent 4 }}
rules:
  {{- if eq .Values.gateway.providerType "agent-sandbox" }}
  - apiGroups: ["agents.x-k8s.io"]
    resources: ["sandboxes"]
  {{- else }}
  - apiGroups: ["sandbox.opensandbox.io"]
    resources: ["batchsandboxes"]
  {{- end }}
    verbs: ["get", "list", "watch"]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $all | ternary "ClusterRoleBinding" "RoleBinding" }}
metadata:
  name: {{ $name }}
  {{- if not $all }}
  namespace: {{ .Values.gateway.dataplaneNamespace }}
  {{- end }}
  labels:
    {{- include "gateway.labels" . | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ $all | ternary "ClusterRole" "Role" }}
  name: {{ $name }}
subjects:
  - kind: ServiceAccount
    name: {{ include "gateway.fullname" . }}
    namespace: {{ include "gateway.namespace" . }}
{{- end }}
