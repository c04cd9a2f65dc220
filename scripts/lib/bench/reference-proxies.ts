/** What a reference proxy is told, so that all of them do the same work as the ingress. */
export interface ReferenceOptions {
  readonly port: number;
  readonly upstreamPort: number;
  readonly sinkPort: number;
  /**
   * Names of sandboxes that are routed by `OpenSandbox-Ingress-To`, each with connections of its own. Empty: no
   * routing.
   */
  readonly sandboxes: readonly string[];
  readonly folder: string;
}

/** A proxy of Debian to compare with. */
export interface ReferenceProxy {
  readonly name: "nginx" | "haproxy" | "caddy";
  /** The Debian package. */
  readonly package: string;
  readonly configFile: string;
  /** Whether it can route to many sandboxes by a header with connections kept for each. */
  readonly routesSandboxes: boolean;
  buildConfig(options: ReferenceOptions): string;
  command(configPath: string): readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
}

/** Idle connections kept to the upstream: more than the largest case opens. */
const KEPT_CONNECTIONS = 1024;
/** Of clients; 5,000 tunnels are the largest case. Two sockets each must fit into the usual hard limit of 20,000. */
const CLIENTS_MAX = 8_192;

/**
 * The same for all: one worker, because the ingress is one process, connections to the upstream kept, HTTP/1.1 there,
 * X-Forwarded-* set, WebSockets, no access log, no buffering, no limit of size or time.
 */
export const REFERENCE_PROXIES: readonly ReferenceProxy[] = [
  {
    name: "nginx",
    package: "nginx",
    configFile: "nginx.conf",
    routesSandboxes: true,
    buildConfig: nginxConfig,
    command: (path) => ["nginx", "-c", path, "-e", "stderr", "-g", "daemon off;"],
  },
  {
    name: "haproxy",
    package: "haproxy",
    configFile: "haproxy.cfg",
    routesSandboxes: true,
    buildConfig: haproxyConfig,
    command: (path) => ["haproxy", "-f", path, "-q"],
  },
  {
    name: "caddy",
    package: "caddy",
    configFile: "Caddyfile",
    routesSandboxes: false,
    buildConfig: caddyConfig,
    command: (path) => ["caddy", "run", "--adapter", "caddyfile", "--config", path],
    environment: { GOMAXPROCS: "1" },
  },
];

function nginxConfig(options: ReferenceOptions): string {
  const { port, upstreamPort, sinkPort, sandboxes, folder } = options;
  const upstream = (name: string, server: number): string =>
    `upstream ${name} { server 127.0.0.1:${server}; keepalive ${name.startsWith("sb") ? 8 : KEPT_CONNECTIONS}; keepalive_requests 1000000000; }`;
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(
    (name) => `${name}_temp_path ${folder}/nginx-${name};`,
  );
  return `
worker_processes 1;
pid ${folder}/nginx.pid;
error_log stderr warn;
events { worker_connections ${2 * CLIENTS_MAX}; }
http {
  access_log off;
  ${temporary.join("\n  ")}
  sendfile on;
  tcp_nodelay on;
  keepalive_requests 1000000000;
  client_max_body_size 0;
  map_hash_max_size 8192;
  map_hash_bucket_size 128;
  map $http_upgrade $connection_header { default upgrade; "" ""; }
  map $http_opensandbox_ingress_to $sandbox { default origin; ${sandboxes.map((name) => `${name}-${upstreamPort} ${name};`).join(" ")} }
  ${upstream("origin", upstreamPort)}
  ${upstream("sink", sinkPort)}
  ${sandboxes.map((name) => upstream(name, upstreamPort)).join("\n  ")}
  server {
    listen 127.0.0.1:${port} backlog=4096 reuseport;
    proxy_http_version 1.1;
    proxy_buffering off;
    proxy_request_buffering off;
    proxy_read_timeout 1d;
    proxy_send_timeout 1d;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection $connection_header;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_set_header X-Forwarded-Host $http_host;
    proxy_set_header X-Forwarded-Proto $scheme;
    location / { proxy_pass http://${sandboxes.length > 0 ? "$sandbox" : "origin"}; }
    location /upload { proxy_pass http://sink; }
  }
}
`;
}

function haproxyConfig(options: ReferenceOptions): string {
  const { port, upstreamPort, sinkPort, sandboxes } = options;
  const backend = (name: string, server: number): string =>
    `backend ${name}\n  http-reuse always\n  server s 127.0.0.1:${server} pool-max-conn ${KEPT_CONNECTIONS}`;
  return `
global
  nbthread 1
  maxconn ${CLIENTS_MAX}
defaults
  mode http
  option forwardfor
  option http-keep-alive
  timeout connect 5s
  timeout client 1d
  timeout server 1d
  timeout tunnel 1d
frontend front
  bind 127.0.0.1:${port} backlog 4096
  http-request set-header X-Forwarded-Host %[req.hdr(Host)]
  http-request set-header X-Forwarded-Proto http
  use_backend sink if { path /upload }
  use_backend events if { path /events }
  ${sandboxes.length > 0 ? `use_backend %[req.hdr(OpenSandbox-Ingress-To),regsub(-${upstreamPort}$,)]` : "default_backend origin"}
${backend("origin", upstreamPort)}
${backend("sink", sinkPort)}
${backend("events", upstreamPort)}
  # Its manual's advice for streams: otherwise small pieces wait 200 ms for more.
  option http-no-delay
${sandboxes.map((name) => backend(name, upstreamPort)).join("\n")}
`;
}

function caddyConfig(options: ReferenceOptions): string {
  const { port, upstreamPort, sinkPort } = options;
  const proxy = (server: number): string => `reverse_proxy 127.0.0.1:${server} {
    flush_interval -1
    transport http {
      keepalive_idle_conns ${KEPT_CONNECTIONS}
      keepalive_idle_conns_per_host ${KEPT_CONNECTIONS}
      compression off
    }
  }`;
  return `{
  admin off
  auto_https off
  log {
    level ERROR
  }
}
http://127.0.0.1:${port} {
  bind 127.0.0.1
  handle /upload {
    ${proxy(sinkPort)}
  }
  handle {
    ${proxy(upstreamPort)}
  }
}
`;
}
