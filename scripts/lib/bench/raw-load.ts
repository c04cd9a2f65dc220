import { readNumbers } from "./child-process.ts";

/** The parameters of a load over bare sockets, in one JSON argument. */
export interface RawLoad {
  readonly port: number;
  readonly path: string;
  /** `OpenSandbox-Ingress-To`. */
  readonly route: string;
  readonly connections: number;
  /** Size of each WebSocket message. 0: the WebSockets stay idle until the process ends. */
  readonly messageBytes: number;
  readonly seconds: number;
}

/** Handshakes at a time while opening: less than any listen queue. */
const OPENING_MAX = 64;

/** The parameters of this process. */
export function readRawLoad(): RawLoad {
  const value: unknown = JSON.parse(process.argv[2] ?? "");
  const numbers = readNumbers(value, ["port", "connections", "messageBytes", "seconds"]);
  const texts = new Map(Object.entries(typeof value === "object" && value !== null ? value : {}));
  return { ...numbers, path: String(texts.get("path")), route: String(texts.get("route")) };
}

/** The head of a request, with further header lines. */
export function buildHead(load: RawLoad, lines: readonly string[]): string {
  const all = [`GET ${load.path} HTTP/1.1`, `Host: 127.0.0.1:${load.port}`, `OpenSandbox-Ingress-To: ${load.route}`];
  return `${[...all, ...lines].join("\r\n")}\r\n\r\n`;
}

/** Opens all connections, a few at a time. Rejects if `failed` does. */
export async function openAll<T>(load: RawLoad, open: () => Promise<T>, failed: Promise<never>): Promise<readonly T[]> {
  const opened: T[] = [];
  while (opened.length < load.connections) {
    const count = Math.min(OPENING_MAX, load.connections - opened.length);
    opened.push(...(await Promise.race([Promise.all(Array.from({ length: count }, open)), failed])));
  }
  return opened;
}
