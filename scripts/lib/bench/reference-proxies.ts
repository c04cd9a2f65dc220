import type { Certificate } from "./certificate.ts";

/** What a reference proxy is told, so that all of them do the same work as the ingress. */
export interface ReferenceOptions {
  readonly port: number;
  /** A second port, always with HTTP/1.1 and without TLS. */
  readonly plainPort: number;
  readonly upstreamPort: number;
  readonly sinkPort: number;
  readonly chunkedPort: number;
  /** Names of sandboxes that are routed, each with connections of its own. Empty: no routing. */
  readonly sandboxes: readonly string[];
  /** The first two segments of the path name the sandbox and are removed. Otherwise `OpenSandbox-Ingress-To` does. */
  readonly namedInPath: boolean;
  /** HTTP/2 from the client. */
  readonly http2: boolean;
  readonly certificate: Certificate | undefined;
  readonly folder: string;
}

/** A proxy of Debian to compare with. */
export interface ReferenceProxy {
  readonly name: "nginx" | "haproxy" | "caddy";
  /** The Debian package. */
  readonly package: string;
  readonly configFile: string;
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
    buildConfig: nginxConfig,
    command: (path) => ["nginx", "-c", path, "-e", "stderr", "-g", "daemon off;"],
  },
  {
    name: "haproxy",
    package: "haproxy",
    configFile: "haproxy.cfg",
    buildConfig: haproxyConfig,
    command: (path) => ["haproxy", "-f", path, "-q"],
  },
  {
    name: "caddy",
    package: "caddy",
    configFile: "Caddyfile",
    buildConfig: caddyConfig,
    command: (path) => ["caddy", "run", "--adapter", "caddyfile", "--config", path],
    environment: { GOMAXPROCS: "1" },
  },
];

function nginxConfig(options: ReferenceOptions): string {
  const { port, plainPort, upstreamPort, sinkPort, chunkedPort, sandboxes, folder, certificate } = options;
  const upstreams = sandboxes.map((name) => `${name}-${upstreamPort} ${name};`).join(" ");
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
  map $http_opensandbox_ingress_to $sandbox { default origin; ${upstreams} }
  ${upstream("origin", upstreamPort)}
  ${upstream("sink", sinkPort)}
  ${upstream("chunked", chunkedPort)}
  ${sandboxes.map((name) => upstream(name, upstreamPort)).join("\n  ")}
  server {
    listen 127.0.0.1:${port} backlog=4096 reuseport${options.http2 ? " http2" : ""}${certificate === undefined ? "" : " ssl"};
    listen 127.0.0.1:${plainPort};
    ${certificate === undefined ? "" : `ssl_certificate ${certificate.certFile}; ssl_certificate_key ${certificate.keyFile};`}
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
    ${nginxLocation(options)}
    location /upload { proxy_pass http://sink; }
    location /chunked/ { proxy_pass http://chunked; }
  }
}
`;
}

function nginxLocation({ sandboxes, namedInPath }: ReferenceOptions): string {
  if (sandboxes.length === 0) return "location / { proxy_pass http://origin; }";
  if (!namedInPath) return "location / { proxy_pass http://$sandbox; }";
  return "location ~ ^/(?<id>[^/]+)/[0-9]+(?<rest>/.*)$ { proxy_pass http://$id$rest$is_args$args; }";
}

function haproxyConfig(options: ReferenceOptions): string {
  const { port, plainPort, upstreamPort, sinkPort, chunkedPort, sandboxes, http2, certificate } = options;
  const protocol = http2 ? "h2" : "http/1.1";
  const plain = http2 ? " proto h2" : "";
  const door = certificate === undefined ? plain : ` ssl crt ${certificate.bothFile} alpn ${protocol}`;
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
  bind 127.0.0.1:${port} backlog 4096${door}
  bind 127.0.0.1:${plainPort}
  http-request set-header X-Forwarded-Host %[req.hdr(Host)]
  http-request set-header X-Forwarded-Proto ${certificate === undefined ? "http" : "https"}
  use_backend sink if { path /upload }
  use_backend events if { path /events }
  use_backend chunked if { path_beg /chunked/ }
  ${haproxyRouting(options)}
${backend("origin", upstreamPort)}
${backend("sink", sinkPort)}
${backend("chunked", chunkedPort)}
${backend("events", upstreamPort)}
  # Its manual's advice for streams: otherwise small pieces wait 200 ms for more.
  option http-no-delay
${sandboxes.map((name) => backend(name, upstreamPort)).join("\n")}
`;
}

function haproxyRouting({ sandboxes, namedInPath, upstreamPort }: ReferenceOptions): string {
  if (sandboxes.length === 0) return "default_backend origin";
  if (!namedInPath) return `use_backend %[req.hdr(OpenSandbox-Ingress-To),regsub(-${upstreamPort}$,)]`;
  return `http-request set-var(txn.sandbox) path,field(2,/)
  http-request set-path %[path,regsub(^/[^/]+/[0-9]+,)]
  use_backend %[var(txn.sandbox)]`;
}

function caddyConfig(options: ReferenceOptions): string {
  const { port, plainPort, upstreamPort, sinkPort, chunkedPort, certificate } = options;
  const proxy = (server: number): string => `reverse_proxy 127.0.0.1:${server} {
    flush_interval -1
    transport http {
      keepalive_idle_conns ${KEPT_CONNECTIONS}
      keepalive_idle_conns_per_host ${KEPT_CONNECTIONS}
      compression off
    }
  }`;
  const site = (scheme: "http" | "https", sitePort: number): string => `${scheme}://127.0.0.1:${sitePort} {
  bind 127.0.0.1
  ${scheme === "https" && certificate !== undefined ? `tls ${certificate.certFile} ${certificate.keyFile}` : ""}
  handle /upload {
    ${proxy(sinkPort)}
  }
  handle /chunked/* {
    ${proxy(chunkedPort)}
  }
  handle {
    ${proxy(upstreamPort)}
  }
}`;
  return `{
  admin off
  auto_https off
  log {
    level ERROR
  }
  servers {
    protocols h1 h2 h2c
  }
}
${site(certificate === undefined ? "http" : "https", port)}
${site("http", plainPort)}
`;
}
