apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ include "gateway.fullname" . }}
  namespace: {{ include "gateway.namespace" . }}
  labels:
    {{- include "gateway.labels" . | nindent 4 }}
automountServiceAccountToken: false
