{{- with .Values.gateway.secureAccess.keys }}
apiVersion: v1
kind: Secret
metadata:
  name: {{ include "gateway.keysSecret" $ }}
  namespace: {{ include "gateway.namespace" $ }}
  labels:
    {{- include "gateway.labels" $ | nindent 4 }}
stringData:
  {{- $pairs := list }}
  {{- range . }}
  {{- $pairs = append $pairs (printf "%s=%s" .key_id .key) }}
  {{- end }}
  keys: {{ join "," $pairs | quote }}
{{- end }}
