import { createServer } from "node:net";
import { formatUrlHost } from "../address.ts";
import type { Config } from "../config/config.ts";
import { codeOf } from "../values.ts";
import type { Finding } from "./finding.ts";

type PortName = "port" | "tls-port" | "admin-port";

export interface AskOptions {
  readonly signal: AbortSignal;
  readonly isTls: boolean;
}

/** What the checks of ports do with the system. Tests replace it. */
export interface PortSeams {
  /** Listens and stops at once. Empty if that works, else the system's code, such as `EADDRINUSE`. */
  tryListen(host: string, port: number): Promise<string>;
  /** The beginning of what an HTTP server answers to `GET /`; empty if it does not. */
  readStart(host: string, port: number, options: AskOptions): Promise<string>;
}

export const systemPorts: PortSeams = { tryListen, readStart };

/** Every page of an ingress at `/`, and every refusal, has this name near its beginning. */
const OWN_NAME = "OpenSandbox Ingress";
/** Bytes of an answer that are looked at. */
const START_BYTES = 4 * 1024;
/** How long whoever has a port may take to answer, in milliseconds. */
const OWNER_MAX_MS = 2_000;
/** The kernel has no IPv6, or no interface has it. */
const NO_IPV6 = /EAFNOSUPPORT|EADDRNOTAVAIL/;
const ANY_IPV4 = "0.0.0.0";

/** Checks that the ingress can listen, or that an ingress does. */
export async function checkPort(
  which: PortName,
  config: Pick<Config, "host" | "isDefaultHost" | "port" | "tls" | "adminHost" | "isDefaultAdminHost" | "adminPort">,
  { ports, signal }: { readonly ports: PortSeams; readonly signal: AbortSignal },
): Promise<Finding> {
  const isAdmin = which === "admin-port";
  const host = isAdmin ? config.adminHost : config.host;
  const { tls } = config;
  const port = { port: config.port, "tls-port": tls?.port ?? 0, "admin-port": config.adminPort }[which];
  const isDefault = isAdmin ? config.isDefaultAdminHost : config.isDefaultHost;
  if (isAdmin && port === 0) return { name: which, state: "skip", detail: "--admin-port=0: off" };
  if (which === "port" && tls?.isOnly === true) return { name: which, state: "skip", detail: "--tls-only: closed" };
  if (which === "tls-port" && tls === undefined) {
    return { name: which, state: "skip", detail: "--tls-cert-file is missing: closed" };
  }
  let place = `${formatUrlHost(host)}:${port}`;
  let code = await ports.tryListen(host, port);
  let listenedOn = host;
  if (isDefault && NO_IPV6.test(code)) {
    // As the ingress itself does.
    listenedOn = ANY_IPV4;
    place = `${ANY_IPV4}:${port}`;
    code = await ports.tryListen(ANY_IPV4, port);
  }
  if (code === "") return { name: which, state: "ok", detail: port === 0 ? "any free port" : `${place} is free` };
  if (code === "EADDRINUSE") {
    const start = await ports.readStart(listenedOn, port, { signal, isTls: which === "tls-port" });
    if (start.includes(OWN_NAME)) return { name: which, state: "ok", detail: `an ingress listens on ${place}` };
    const remedy = `stop the other program, or choose another port by --${which}`;
    return { name: which, state: "fail", detail: `another program listens on ${place}`, remedy };
  }
  return { name: which, state: "fail", detail: `cannot listen on ${place} (${code})`, remedy: remedyFor(code, which) };
}

function remedyFor(code: string, which: PortName): string {
  if (code === "EACCES" || code === "EPERM") {
    return `choose a port from 1024 on by --${which}, or grant the capability NET_BIND_SERVICE`;
  }
  return `choose an address of this machine by --${which === "admin-port" ? "admin-host" : "host"}`;
}

/** Says whether this machine has IPv6. */
export async function checkIpv6(ports: PortSeams, addresses: readonly string[]): Promise<Finding> {
  const name = "ipv6";
  const code = await ports.tryListen("::1", 0);
  if (code !== "") {
    const detail = `this machine has no IPv6 (${code}): the ingress listens on ${ANY_IPV4} unless --host says otherwise`;
    return { name, state: "warn", detail, remedy: "enable IPv6 if clients, sandboxes or the API server use it" };
  }
  const hasGlobal = addresses.some((address) => /^[23]|^f[cd]/i.test(address) && address.includes(":"));
  const detail = hasGlobal
    ? "available"
    : "available on this machine only: no interface has an address beyond the link";
  return { name, state: "ok", detail };
}

function tryListen(host: string, port: number): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  const server = createServer();
  server.once("error", (error) => resolve(codeOf(error) || "unknown fault"));
  server.listen({ host, port, exclusive: true }, () => server.close(() => resolve("")));
  return promise;
}

async function readStart(host: string, port: number, options: AskOptions): Promise<string> {
  for (const target of targetsOf(host)) {
    const start = await readStartOf(`${options.isTls ? "https" : "http"}://${target}:${port}/`, options.signal);
    if (start !== "") return start;
  }
  return "";
}

/** A wildcard address is where one listens, not where one asks. `::` is both families'. */
function targetsOf(host: string): readonly string[] {
  if (host === "::") return ["[::1]", "127.0.0.1"];
  return [host === ANY_IPV4 ? "127.0.0.1" : formatUrlHost(host)];
}

async function readStartOf(url: string, signal: AbortSignal): Promise<string> {
  try {
    const response = await fetch(url, {
      redirect: "manual",
      proxy: false,
      keepalive: false,
      // Only who it is is asked; the name of its certificate is another.
      tls: { rejectUnauthorized: false },
      signal: AbortSignal.any([signal, AbortSignal.timeout(OWNER_MAX_MS)]),
    });
    let text = "";
    const body: AsyncIterable<Uint8Array> | null = response.body;
    if (body === null) return text;
    const decoder = new TextDecoder();
    for await (const chunk of body) {
      text += decoder.decode(chunk, { stream: true });
      if (text.length >= START_BYTES) break;
    }
    return text;
  } catch {
    // No HTTP server, or a slow one.
    return "";
  }
}
