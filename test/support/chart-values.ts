import type { Json } from "../../scripts/lib/kube/kube-api-server.ts";

/** Base64 of 32 bytes. */
export const ACCESS_KEY = Buffer.alloc(32, 7).toString("base64");
export const IMAGE_DIGEST = `sha256:${"0123456789abcdef".repeat(4)}`;

/** All values of the existing gateway chart 1.1.1, as an operator of it may have them; docs/contract.md §10. */
const existing: Json = {
  nameOverride: "",
  fullnameOverride: "opensandbox-ingress-gateway",
  namespaceOverride: "opensandbox-system",
  imagePullSecrets: [{ name: "registry" }],
  rbac: { create: true },
  gateway: {
    image: { repository: "registry.example.com/ingress", tag: "0.1.0", pullPolicy: "Always" },
    replicaCount: 3,
    port: 28_888,
    dataplaneNamespace: "opensandbox",
    providerType: "batchsandbox",
    gatewayRouteMode: "uri",
    fastpathEndpoint: "fastlet.opensandbox-system:9000",
    logLevel: "warn",
    env: [{ name: "OTEL_METRICS_EXPORTER", value: "none" }],
    resources: { requests: { cpu: "500m", memory: "512Mi" }, limits: { cpu: "2", memory: "1Gi" } },
    secureAccess: { keys: [], existingSecret: "signing-keys" },
    service: { type: "NodePort", port: 8080, nodePort: 30_080 },
    nodeSelector: { "kubernetes.io/os": "linux" },
    podSecurityContext: { fsGroup: 65_532 },
    containerSecurityContext: { runAsUser: 10_001 },
    podAnnotations: { "example.com/owner": "platform" },
    podLabels: { team: "platform" },
    priorityClassName: "system-cluster-critical",
    topologySpreadConstraints: [
      { maxSkew: 1, topologyKey: "kubernetes.io/hostname", whenUnsatisfiable: "DoNotSchedule" },
    ],
    tolerations: [{ key: "gateway", operator: "Exists" }],
    affinity: {
      nodeAffinity: {
        requiredDuringSchedulingIgnoredDuringExecution: {
          nodeSelectorTerms: [{ matchExpressions: [{ key: "pool", operator: "In", values: ["edge"] }] }],
        },
      },
    },
  },
};

/** All that is recommended for production. */
const production: Json = {
  namespaceOverride: "opensandbox",
  gateway: {
    image: { digest: IMAGE_DIGEST },
    trustedProxies: "10.1.2.0/24",
    endpointRanges: ["10.244.0.0/16", "fd00:10:244::/56"],
    secureAccess: { existingSecret: "opensandbox-ingress-access-keys" },
    tls: { existingSecret: "opensandbox-ingress-tls" },
  },
  renew: { enabled: true, existingSecret: "opensandbox-ingress-renew" },
  adminToken: { existingSecret: "opensandbox-ingress-admin" },
  autoscaling: { enabled: true, minReplicas: 3, maxReplicas: 20 },
  networkPolicy: {
    enabled: true,
    trafficFrom: [{ ipBlock: { cidr: "10.1.2.0/24" } }],
    apiServer: ["10.0.0.1/32"],
    extraEgress: [{ to: [{ ipBlock: { cidr: "10.9.0.5/32" } }], ports: [{ port: 6379, protocol: "TCP" }] }],
  },
  podMonitor: { enabled: true, labels: { release: "prometheus" } },
};

/** Sandboxes of agents.x-k8s.io in all namespaces, and a release of another name. */
const agentsEverywhere: Json = {
  fullnameOverride: "agents-ingress",
  gateway: { allNamespaces: true, providerType: "agent-sandbox", gatewayRouteMode: "wildcard", trustedProxies: "none" },
  networkPolicy: { enabled: true },
  podDisruptionBudget: { maxUnavailable: "50%" },
};

/** What an operator may write that collides with what the chart writes. */
const unusual: Json = {
  fullnameOverride: "",
  nameOverride: "edge",
  gateway: {
    port: 8080,
    dataplaneNamespace: "team-a, team-b",
    replicaCount: 1,
    env: [
      { name: "POD_IPS", value: "10.0.0.9" },
      { name: "HOST_IP", valueFrom: { fieldRef: { fieldPath: "status.hostIP" } } },
    ],
    secureAccess: {
      keys: [
        { key_id: "a", key: ACCESS_KEY },
        { key_id: 1, key: ACCESS_KEY },
      ],
    },
    service: { type: "LoadBalancer", externalTrafficPolicy: "Local", annotations: { "example.com/kind": "nlb" } },
    podLabels: { "app.kubernetes.io/name": "mine", "app.kubernetes.io/instance": "mine", team: "edge" },
    extraArgs: ["--log-level=debug", "--max-requests=500"],
  },
  podDisruptionBudget: { enabled: false },
  podMonitor: { enabled: true },
};

/** The six sets of values, by what they are for. */
export const CHART_VALUES_NAMES = [
  "defaults",
  "existing",
  "production",
  "agentsEverywhere",
  "unusual",
  "wake",
] as const;

export type ChartValuesName = (typeof CHART_VALUES_NAMES)[number];

export const CHART_VALUES: Readonly<Record<ChartValuesName, Json>> = {
  defaults: {},
  existing,
  production,
  agentsEverywhere,
  unusual,
  wake: { namespaceOverride: "waking", gateway: { dataplaneNamespace: "waking" }, wake: { enabled: true } },
};
