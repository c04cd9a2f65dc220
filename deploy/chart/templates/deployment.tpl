{{- $gateway := .Values.gateway }}
{{- $keys := include "gateway.keysSecret" . }}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "gateway.fullname" . }}
  namespace: {{ include "gateway.namespace" . }}
  labels:
    {{- include "gateway.labels" . | nindent 4 }}
spec:
  {{- if not .Values.autoscaling.enabled }}
  replicas: {{ $gateway.replicaCount }}
  {{- end }}
  selector:
    matchLabels:
      {{- include "gateway.selector" . | nindent 6 }}
  strategy:
    rollingUpdate:
      maxUnavailable: 0
      maxSurge: 1
  template:
    metadata:
      labels:
        {{- with $gateway.podLabels }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
        {{- include "gateway.selector" . | nindent 8 }}
      annotations:
        {{- with $gateway.secureAccess.keys }}
        # Variables are read at the start only: other keys make other pods.
        checksum/secure-access: {{ toJson . | sha256sum }}
        {{- end }}
        {{- with $gateway.podAnnotations }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    spec:
      serviceAccountName: {{ include "gateway.fullname" . }}
      automountServiceAccountToken: true
      enableServiceLinks: false
      terminationGracePeriodSeconds: {{ $gateway.terminationGracePeriodSeconds }}
      {{- range $field := list "podSecurityContext:securityContext" "nodeSelector" "priorityClassName" "tolerations" "affinity" }}
      {{- $from := splitList ":" $field | first }}
      {{- with index $gateway $from }}
      {{ splitList ":" $field | last }}: {{ toJson . }}
      {{- end }}
      {{- end }}
      {{- with .Values.imagePullSecrets }}
      imagePullSecrets: {{ toJson . }}
      {{- end }}
      topologySpreadConstraints:
        {{- if $gateway.topologySpreadConstraints }}
        {{- toYaml $gateway.topologySpreadConstraints | nindent 8 }}
        {{- else }}
        {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
        - maxSkew: 1
          topologyKey: {{ . }}
          whenUnsatisfiable: ScheduleAnyway
          matchLabelKeys: ["pod-template-hash"]
          labelSelector:
            matchLabels:
              {{- include "gateway.selector" $ | nindent 14 }}
        {{- end }}
        {{- end }}
      containers:
        - name: main
          image: {{ include "gateway.image" . | quote }}
          imagePullPolicy: {{ $gateway.image.pullPolicy }}
          args:
            {{- if $gateway.allNamespaces }}
            - --all-namespaces
            {{- else }}
            - --namespace={{ $gateway.dataplaneNamespace }}
            {{- end }}
            - --provider-type={{ $gateway.providerType }}
            - --mode={{ $gateway.gatewayRouteMode }}
            - --port={{ $gateway.port }}
            - --admin-port={{ $gateway.adminPort }}
            - --log-level={{ $gateway.logLevel }}
            - --log-format=json
            {{- with $gateway.fastpathEndpoint }}
            - --fastpath-endpoint={{ . }}
            {{- end }}
            {{- with $gateway.trustedProxies }}
            - --trusted-proxies={{ . }}
            {{- end }}
            {{- with $gateway.endpointRanges }}
            - --endpoint-ranges={{ join "," . }}
            {{- end }}
            {{- if $keys }}
            - --secure-access-keys=$(OPENSANDBOX_SECURE_ACCESS_KEYS)
            {{- end }}
            {{- if $gateway.renew.enabled }}
            - --renew-intent-enabled
            - --renew-intent-redis-dsn=$(RENEW_REDIS_DSN)
            {{- end }}
            {{- with $gateway.extraArgs }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
          env:
            - name: NODE_IP
              valueFrom:
                fieldRef:
                  fieldPath: status.hostIP
            - name: POD_IPS
              valueFrom:
                fieldRef:
                  fieldPath: status.podIPs
            - name: POD_NAMESPACE
              valueFrom:
                fieldRef:
                  fieldPath: metadata.namespace
            {{- if $keys }}
            - name: OPENSANDBOX_SECURE_ACCESS_KEYS
              valueFrom:
                secretKeyRef:
                  name: {{ $keys }}
                  key: keys
            {{- end }}
            {{- if $gateway.renew.enabled }}
            - name: RENEW_REDIS_DSN
              valueFrom:
                secretKeyRef:
                  name: {{ required "gateway.renew.existingSecret: required with gateway.renew.enabled" $gateway.renew.existingSecret }}
                  key: dsn
            {{- end }}
            {{- with $gateway.env }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
          ports:
            - name: http
              containerPort: {{ $gateway.port }}
            - name: admin
              containerPort: {{ $gateway.adminPort }}
          livenessProbe:
            httpGet:
              path: /livez
              port: admin
            periodSeconds: 15
            timeoutSeconds: 5
          readinessProbe:
            httpGet:
              path: /readyz
              port: admin
            periodSeconds: 5
            timeoutSeconds: 5
          resources: {{ toJson $gateway.resources }}
          {{- with $gateway.containerSecurityContext }}
          securityContext: {{ toJson . }}
          {{- end }}
