import { parseAccessKeys } from "../../src/access/keys.ts";
import { signRoute } from "../../src/access/signature.ts";
import { parseAddressSet } from "../../src/address.ts";
import type { Clock } from "../../src/clock.ts";
import type { ProviderType } from "../../src/sandbox/provider.ts";
import { formatLabelRoute, formatUriRoute } from "../../src/route/format-route.ts";
import type { RouteForm, RouteSignature } from "../../src/route/route.ts";
import { sandboxKindOf } from "../../src/sandbox/projection/kinds.ts";
import type { SandboxRecord } from "../../src/sandbox/provider.ts";
import { endpointRules } from "../../scripts/lib/stage/endpoint-rules.ts";
import { type ProxyHarness, startProxy } from "../../scripts/lib/stage/proxy-harness.ts";
import { type RawAnswer, rawRequest } from "../../scripts/lib/stage/raw-client.ts";
import { agentSandbox, batchSandbox } from "../../scripts/lib/stage/sandbox-objects.ts";
import { createTableProvider, type TableProvider } from "../../scripts/lib/stage/table-provider.ts";

/** In the format of `--secure-access-keys`. */
export const ACCESS_KEYS = "a=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
/** The token of the secured sandboxes. */
export const ACCESS_TOKEN = "secure-access-token-1";

/** Kinds of signature in a route. */
export const SIGNATURE_KINDS = ["none", "valid", "expired", "unknown key", "mismatch"] as const;
export type SignatureKind = (typeof SIGNATURE_KINDS)[number];

/** The value of `OpenSandbox-Secure-Access`; undefined: no such header. */
const PRESENTED = {
  absent: undefined,
  right: ACCESS_TOKEN,
  padded: `  ${ACCESS_TOKEN}\t`,
  empty: "",
  wrong: `${ACCESS_TOKEN}x`,
} as const satisfies Record<string, string | undefined>;
export type PresentedKind = keyof typeof PRESENTED;
export const PRESENTED_KINDS: readonly PresentedKind[] = ["absent", "right", "padded", "empty", "wrong"];

export type Transport = "http" | "websocket";

/** One request to a proxy of the stage. Default: secured sandbox, no signature, no token, plain HTTP. */
export interface Shot {
  readonly proxy: ProxyHarness;
  readonly form: RouteForm;
  /** `secured` and `open` are ready; `pausing` is secured and not ready. */
  readonly sandbox?: "secured" | "open" | "pausing";
  readonly signature?: SignatureKind;
  /** A signature from an earlier request; overrides `signature`. */
  readonly link?: RouteSignature | undefined;
  readonly presented?: PresentedKind;
  readonly transport?: Transport;
  /** The source address: this machine's other loopback address is another peer. Default: 127.0.0.1. */
  readonly peer?: "127.0.0.1" | "::1";
  /** The client that a proxy in front names; by default a new one. */
  readonly client?: string;
}

/** The result of a shot. */
export interface Impact {
  readonly answer: RawAnswer;
  /** Each request that the sandbox got: its path, and the names of headers that it should not get. */
  readonly seen: readonly string[];
  /** The path of the request, including the part that looks signed. */
  readonly plain: string;
  readonly signature: RouteSignature | undefined;
}

/** A sandbox that is known as secured, open and pausing, and proxies in front of it. */
export interface AccessStage extends AsyncDisposable {
  /** Starts a proxy that stops with the stage. Without `accessKeys` it has no keys. */
  start(
    providerType: ProviderType,
    form: RouteForm,
    options?: { readonly accessKeys?: string; readonly accessClock?: Clock; readonly trustedProxies?: string },
  ): ProxyHarness;
  /** Sends one request. Do not call it during another shot. */
  shoot(shot: Shot): Promise<Impact>;
}

export function createAccessStage(): AccessStage {
  const proxies: ProxyHarness[] = [];
  let seen: string[] = [];
  let clients = 0;
  const upstream = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch(request, server) {
      const leaked = [...request.headers.keys()].filter((name) => name.startsWith("opensandbox-"));
      seen.push([new URL(request.url).pathname, ...leaked].join(" "));
      return server.upgrade(request) ? undefined : new Response("sandbox");
    },
    websocket: { message() {} },
  });
  const { port } = upstream;
  if (port === undefined) throw new Error("the upstream does not listen");
  return {
    start(providerType, form, { trustedProxies = "private", ...parts } = {}) {
      const mode = form === "uri" ? "uri" : "header";
      const config = { mode, host: "::", trustedProxies: parseAddressSet(trustedProxies) } as const;
      const provider = createProvider(providerType);
      const proxy = startProxy(config, { provider, ...parts });
      proxies.push(proxy);
      return proxy;
    },
    async shoot(shot) {
      const { form, sandbox = "secured", signature: kind = "none" } = shot;
      const signature = shot.link ?? buildSignature({ sandboxId: sandbox, port }, kind);
      const target = { sandboxId: sandbox, port, signature };
      const client = shot.client ?? `203.0.${clients >> 8}.${clients++ & 255}`;
      seen = [];
      const answer = await rawRequest(shot.proxy.port, buildRequest(shot, { target, client }), {
        host: shot.peer ?? "127.0.0.1",
      });
      const isInPath = signature !== undefined && form === "uri";
      const plain = isInPath ? `/${signature.expiresB36}/${signature.signature}/x` : "/x";
      return { answer, seen, plain, signature };
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(proxies.map((proxy) => proxy[Symbol.asyncDispose]()));
      await upstream.stop(true);
    },
  };
}

function buildRequest(
  shot: Shot,
  options: { readonly target: Parameters<typeof formatLabelRoute>[0]; readonly client: string },
): string {
  const { form, presented = "absent" } = shot;
  const label = formatLabelRoute(options.target);
  const lines = [
    `GET ${form === "uri" ? formatUriRoute(options.target) : ""}/x HTTP/1.1`,
    `Host: ${form === "host" ? `${label}.example.test` : "gateway.test"}`,
    `X-Forwarded-For: ${options.client}`,
  ];
  if (form === "header") lines.push(`OpenSandbox-Ingress-To: ${label}`);
  const token = PRESENTED[presented];
  if (token !== undefined) lines.push(`OpenSandbox-Secure-Access: ${token}`);
  if (shot.transport === "websocket") {
    lines.push("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13");
    lines.push("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==");
  }
  return `${lines.join("\r\n")}\r\n\r\n`;
}

function buildSignature(
  target: { readonly sandboxId: string; readonly port: number },
  kind: SignatureKind,
): RouteSignature | undefined {
  if (kind === "none") return undefined;
  const offsetSeconds = kind === "expired" ? -60 : 3_600;
  const expiresB36 = (Math.floor(Date.now() / 1000) + offsetSeconds).toString(36);
  const good = signRoute(parseAccessKeys(ACCESS_KEYS), "a", { ...target, expiresB36 });
  if (kind === "unknown key") return { expiresB36, signature: `${good.signature.slice(0, 8)}z` };
  if (kind !== "mismatch") return good;
  const other = good.signature.startsWith("0") ? "1" : "0";
  return { expiresB36, signature: other + good.signature.slice(1) };
}

function createProvider(providerType: ProviderType): TableProvider {
  const provider = createTableProvider({ providerType });
  for (const record of buildRecords(providerType)) provider.set(record);
  return provider;
}

/** The records of the resources as from the API server. */
function buildRecords(providerType: ProviderType): SandboxRecord[] {
  const { project } = sandboxKindOf(providerType);
  return (["secured", "open", "pausing"] as const).map((name) => {
    const parts = { name, isReady: name !== "pausing", token: name === "open" ? undefined : ` ${ACCESS_TOKEN} ` };
    const object = providerType === "batchsandbox" ? buildBatchSandbox(parts) : buildAgentSandbox(parts);
    const { record, warning } = project(object, { endpoints: endpointRules({ allowLoopback: true }) });
    if (record === undefined) throw new Error(warning);
    return record;
  });
}

interface ObjectParts {
  readonly name: string;
  readonly isReady: boolean;
  readonly token: string | undefined;
}

function buildBatchSandbox({ name, isReady, token }: ObjectParts): unknown {
  const status = { replicas: 1, ready: isReady ? 1 : 0, phase: "Succeed" };
  const endpoints = '["127.0.0.1"]';
  return batchSandbox({ name, uid: `uid-${name}`, endpoints, status, ...(token === undefined ? {} : { token }) });
}

function buildAgentSandbox({ name, isReady, token }: ObjectParts): unknown {
  const annotations = token === undefined ? {} : { "opensandbox.io/secure-access-token": token };
  const ready = { type: "Ready", status: isReady ? "True" : "False", reason: "DependenciesNotReady" };
  return agentSandbox({ podIPs: ["127.0.0.1"], conditions: [ready] }, { name, uid: `uid-${name}`, annotations });
}
