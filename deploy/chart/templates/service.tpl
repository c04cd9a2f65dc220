apiVersion: v1
kind: Service
metadata:
  name: {{ include "gateway.fullname" . }}
  namespace: {{ include "gateway.namespace" . }}
  labels:
    {{- include "gateway.labels" . | nindent 4 }}
spec:
  type: {{ .Values.gateway.service.type }}
  {{- with .Values.gateway.service.externalTrafficPolicy }}
  externalTrafficPolicy: {{ . }}
  {{- end }}
  selector:
    {{- include "gateway.selector" . | nindent 4 }}
  ports:
    - name: http
      port: {{ .Values.gateway.service.port }}
      targetPort: http
      {{- with .Values.gateway.service.nodePort }}
      nodePort: {{ . }}
      {{- end }}
