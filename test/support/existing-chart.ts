import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

// The existing gateway chart 1.1.1 in its names, labels, selector and objects: docs/contract.md §10 and §6.

const CHART = `apiVersion: v2
name: opensandbox-ingress-gateway
version: 1.1.1
appVersion: 1.1.1
`;

const VALUES = `fullnameOverride: opensandbox-ingress-gateway
namespaceOverride: opensandbox-system
gateway:
  image: { repository: registry.example.com/go-ingress, tag: "", pullPolicy: IfNotPresent }
  replicaCount: 2
  port: 28888
  dataplaneNamespace: opensandbox
  providerType: batchsandbox
  gatewayRouteMode: header
  logLevel: info
  resources: {}
  secureAccess: { keys: [], existingSecret: "" }
  service: { type: ClusterIP, port: 80, nodePort: null }
`;

const HELPERS = `{{- define "selector" -}}
app.kubernetes.io/name: {{ .Values.fullnameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}
{{- define "labels" -}}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{ include "selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/component: ingress-gateway
app.kubernetes.io/part-of: opensandbox
{{- end -}}
`;

const OBJECTS = `apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ .Values.fullnameOverride }}
  namespace: {{ .Values.namespaceOverride }}
  labels: {{- include "labels" . | nindent 4 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: {{ .Values.fullnameOverride }}-reader-full
  labels: {{- include "labels" . | nindent 4 }}
rules:
  - apiGroups: [""]
    resources: [pods, pods/status, services]
    verbs: [get, list, watch]
  - apiGroups: [sandbox.opensandbox.io]
    resources: [batchsandboxes, batchsandboxes/status]
    verbs: [get, list, watch]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: {{ .Values.fullnameOverride }}-reader-full
  labels: {{- include "labels" . | nindent 4 }}
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {{ .Values.fullnameOverride }}-reader-full }
subjects:
  - { kind: ServiceAccount, name: {{ .Values.fullnameOverride }}, namespace: {{ .Values.namespaceOverride }} }
---
apiVersion: v1
kind: Service
metadata:
  name: {{ .Values.fullnameOverride }}
  namespace: {{ .Values.namespaceOverride }}
  labels: {{- include "labels" . | nindent 4 }}
spec:
  type: {{ .Values.gateway.service.type }}
  ports:
    - port: {{ .Values.gateway.service.port }}
      targetPort: http
      protocol: TCP
      name: http
  selector: {{- include "selector" . | nindent 4 }}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .Values.fullnameOverride }}
  namespace: {{ .Values.namespaceOverride }}
  labels: {{- include "labels" . | nindent 4 }}
spec:
  replicas: {{ .Values.gateway.replicaCount }}
  selector:
    matchLabels: {{- include "selector" . | nindent 6 }}
  template:
    metadata:
      labels: {{- include "selector" . | nindent 8 }}
    spec:
      serviceAccountName: {{ .Values.fullnameOverride }}
      containers:
        - name: main
          image: "{{ .Values.gateway.image.repository }}:release-{{ .Chart.AppVersion }}"
          args:
            - --namespace={{ .Values.gateway.dataplaneNamespace }}
            - --port={{ .Values.gateway.port }}
            - --provider-type={{ .Values.gateway.providerType }}
            - --mode={{ .Values.gateway.gatewayRouteMode }}
            - --log-level={{ .Values.gateway.logLevel }}
            {{- if .Values.gateway.secureAccess.existingSecret }}
            - --secure-access-keys=$(OPENSANDBOX_SECURE_ACCESS_KEYS)
          env:
            - name: OPENSANDBOX_SECURE_ACCESS_KEYS
              valueFrom: { secretKeyRef: { name: {{ .Values.gateway.secureAccess.existingSecret }}, key: keys } }
            {{- end }}
          ports:
            - { name: http, containerPort: {{ .Values.gateway.port }}, protocol: TCP }
          livenessProbe: { httpGet: { path: /status.ok, port: http }, initialDelaySeconds: 10, periodSeconds: 15 }
          readinessProbe: { httpGet: { path: /status.ok, port: http } }
          resources: {{ toJson .Values.gateway.resources }}
`;

/** Writes a chart with the objects of the existing one, and returns its folder. */
export function writeExistingChart(dir: string): string {
  const chart = join(dir, "existing-chart");
  mkdirSync(join(chart, "templates"), { recursive: true });
  writeFileSync(join(chart, "Chart.yaml"), CHART);
  writeFileSync(join(chart, "values.yaml"), VALUES);
  writeFileSync(join(chart, "templates/_helpers.tpl"), HELPERS);
  writeFileSync(join(chart, "templates/objects.yaml"), OBJECTS);
  return chart;
}
