import { formatUrlHost, parseAddress } from "../../address.ts";
import { type EndpointReading, type ProjectOptions } from "./projection.ts";
import type { PortEndpoints } from "../provider.ts";
import { isDnsLabel, isObject, parsePort } from "../../values.ts";
import { quote } from "../../log/quote.ts";

/**
 * Kubernetes limits all annotations of an object together to 256 KiB. The pod addresses of one sandbox need far less.
 */
const ANNOTATION_MAX_CHARS = 64 * 1024;
/** Maximum number of ports of the map form: a sandbox listens on a handful of ports, and a record must stay small. */
const MAP_MAX_PORTS = 256;
/** RFC 1035 §2.3.4, without the final dot. */
const DNS_NAME_MAX_CHARS = 253;

const NO_ENDPOINT: EndpointReading = Object.freeze({ endpoint: "", ports: undefined, refusal: undefined });

function refuse(refusal: string): EndpointReading {
  return { endpoint: "", ports: undefined, refusal };
}

/**
 * Reads the annotation `sandbox.opensandbox.io/endpoints` (docs/contract.md §1): a JSON array of addresses, whose first
 * non-empty entry counts, or a map `port → address:port`. An empty value means that there is no endpoint yet. Anything
 * else is refused; one invalid entry makes the whole map invalid.
 */
export function parseEndpointAnnotation(annotation: unknown, options: ProjectOptions): EndpointReading {
  if (annotation === undefined || annotation === null || annotation === "") return NO_ENDPOINT;
  if (typeof annotation !== "string") return refuse("the endpoints annotation is not a string");
  if (annotation.length > ANNOTATION_MAX_CHARS) {
    return refuse(`the endpoints annotation is longer than ${ANNOTATION_MAX_CHARS} characters`);
  }
  let value: unknown;
  try {
    value = JSON.parse(annotation);
  } catch {
    return refuse(`the endpoints annotation ${quote(annotation)} is not JSON`);
  }
  if (value === null) return NO_ENDPOINT;
  if (Array.isArray(value)) return readFirst(value, options);
  if (isObject(value)) return readMap(value, options);
  return refuse(`the endpoints annotation ${quote(annotation)} is neither an array nor a map`);
}

/** Reads and judges the first entry of a list of addresses that is not an empty string. */
export function readFirst(entries: readonly unknown[], options: ProjectOptions): EndpointReading {
  const first = entries.find((entry) => entry !== "");
  if (first === undefined) return NO_ENDPOINT;
  const host = typeof first === "string" ? judgeAddress(first, options) : undefined;
  if (host === undefined) return refuse(`the endpoint ${quote(first)} is not an IP address`);
  return host.refusal === undefined ? { ...NO_ENDPOINT, endpoint: host.host } : refuse(host.refusal);
}

function readMap(map: Readonly<Record<string, unknown>>, options: ProjectOptions): EndpointReading {
  const entries = Object.entries(map).filter(([, value]) => value !== "");
  if (entries.length === 0) return NO_ENDPOINT;
  if (entries.length > MAP_MAX_PORTS) return refuse(`the endpoints annotation names more than ${MAP_MAX_PORTS} ports`);
  const found: [number, string][] = [];
  for (const [key, value] of entries) {
    const port = parsePort(key);
    if (port === undefined) return refuse(`the endpoints annotation has the invalid port ${quote(key)}`);
    const upstream = typeof value === "string" ? readMapValue(value, key, options) : undefined;
    if (upstream === undefined)
      return refuse(`the endpoint ${quote(value)} of port ${key} is not an address with a port`);
    if (upstream.refusal !== undefined) return refuse(upstream.refusal);
    found.push([port, upstream.host]);
  }
  found.sort(([a], [b]) => a - b);
  const ports: PortEndpoints = new Map(found);
  return { endpoint: found.map(([port, upstream]) => `${port}=${upstream}`).join(","), ports, refusal: undefined };
}

/** `10.0.1.5:8080`, `[fd00::5]:8080`, or either without a port; then the port is the map's key. */
function readMapValue(value: string, ownPort: string, options: ProjectOptions): Judged | undefined {
  const colon = value.lastIndexOf(":");
  const hasPort = colon >= 0 && !value.endsWith("]");
  const hostText = hasPort ? value.slice(0, colon) : value;
  const portText = hasPort ? value.slice(colon + 1) : ownPort;
  if (parsePort(portText) === undefined) return undefined;
  const bracketed = hostText.startsWith("[") && hostText.endsWith("]");
  // Without brackets `fd00::1:8080` is ambiguous.
  if (!bracketed && hostText.includes(":")) return undefined;
  const address = bracketed ? hostText.slice(1, -1) : hostText;
  if (bracketed && !address.includes(":")) return undefined;
  const judged = judgeAddress(address, options);
  return judged === undefined ? undefined : { host: `${judged.host}:${portText}`, refusal: judged.refusal };
}

interface Judged {
  /** The URL host. */
  readonly host: string;
  /** Why it must not be dialled; undefined if it may be dialled. */
  readonly refusal: string | undefined;
}

/** Returns undefined if the text is not an address. */
function judgeAddress(text: string, { endpoints }: ProjectOptions): Judged | undefined {
  const address = parseAddress(text);
  if (address === undefined) return undefined;
  const reason = endpoints.judge(address);
  return {
    host: formatUrlHost(address),
    refusal: reason === undefined ? undefined : `the endpoint ${quote(address)} ${reason}`,
  };
}

/**
 * Checks `status.serviceFQDN`: `<service>.<namespace>.svc` in the object's namespace, alone or followed by the
 * cluster's domain. Any Service of the namespace passes: a Sandbox's name can be longer than a Service's, so the two
 * can differ. An `ExternalName` Service can lead to any address, so the dialler judges each address that the name
 * resolves to, by the same rules.
 */
export function parseServiceFqdn(fqdn: string, namespace: string, { endpoints }: ProjectOptions): EndpointReading {
  const service = fqdn.slice(0, Math.max(0, fqdn.indexOf(".")));
  const name = `${service}.${namespace}.svc`;
  const full = `${name}.${endpoints.clusterDomain}`;
  if (isDnsLabel(service) && (fqdn === name || (fqdn === full && fqdn.length <= DNS_NAME_MAX_CHARS))) {
    return { endpoint: fqdn, ports: undefined, refusal: undefined };
  }
  return refuse(
    `status.serviceFQDN ${quote(fqdn)} is not <service>.${namespace}.svc, alone or followed by .${endpoints.clusterDomain}`,
  );
}
