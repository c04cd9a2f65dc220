import { randomBytes } from "node:crypto";

import type { Random } from "../stage/random.ts";
import { createRandom } from "../stage/random.ts";
import { openLine } from "./client-line.ts";
import { type Misbehaviour, misbehaviourPath, SANDBOX_HOSTS } from "./hostile-sandbox.ts";
import { HTTP_CLIENTS, type RudeClient } from "./rude-clients.ts";
import { WEBSOCKET_CLIENTS } from "./websocket-clients.ts";

/** Clients at a time. */
const OPEN_MAX = 48;

/** How long the oldest client may stay once there are `OPEN_MAX`, in milliseconds: longer than the limits that should end it. */
const PATIENCE_MS = 2_500;

/** Between two changes of sandboxes so many clients begin on the average. */
const CLIENTS_PER_CHANGE = 5;

/** A port on which no sandbox listens. */
const CLOSED_PORT = 1;

const NAMES = ["leak-a", "leak-b", "leak-c", "leak-d"] as const;

/** A sandbox as its provider is to know it. */
export interface MixSandbox {
  readonly name: string;
  readonly uid: string;
  readonly endpoint: string;
  /** Empty: open to all. */
  readonly token: string;
  readonly ready: boolean;
}

/** The proxy that is put to the test. */
export interface LeakTarget {
  readonly port: number;
  /** Adds or replaces a sandbox. */
  setSandbox(sandbox: MixSandbox): void | Promise<void>;
  removeSandbox(name: string): void | Promise<void>;
}

export interface LeakMixOptions {
  readonly target: LeakTarget;
  readonly random: Random;
  readonly misbehaviours: readonly Misbehaviour[];
  /** Where the hostile sandboxes listen. */
  readonly sandboxPort: number;
  /** Told of each client that begins: the `X-Request-Id` of its requests, and what it is, in words. */
  readonly onClient?: (requestId: string, name: string) => void;
  /** What sandboxes may have as their endpoint. Default: `SANDBOX_HOSTS`. */
  readonly endpoints?: readonly [string, ...string[]];
}

interface OpenClient {
  readonly startedAt: number;
  readonly leave: () => void;
  readonly ended: Promise<void>;
}

/**
 * A random mix of rude clients and hostile sandboxes, whose addresses, credentials and existence change meanwhile. What happens
 * is chosen by `random` alone; when it happens is the machine's business.
 */
export class LeakMix {
  readonly #options: LeakMixOptions;
  readonly #sandboxes = new Map<string, MixSandbox>();
  readonly #open = new Set<OpenClient>();
  #begun = 0;

  constructor(options: LeakMixOptions) {
    this.#options = options;
  }

  /** Clients that have begun, since the beginning. */
  get begun(): number {
    return this.#begun;
  }

  /** All sandboxes exist, open, ready and at their first address. */
  async begin(): Promise<void> {
    for (const name of NAMES)
      await this.#set({ name, uid: newUid(), endpoint: SANDBOX_HOSTS[0], token: "", ready: true });
  }

  /** Begins clients, at most `OPEN_MAX` at a time, and changes the sandboxes in between, while `goesOn` says so. */
  async run(goesOn: (begunNow: number) => boolean): Promise<void> {
    for (let n = 0; goesOn(n); n++) {
      while (this.#open.size >= OPEN_MAX) await this.#waitForOne();
      this.#begin();
      if (this.#options.random.integer(CLIENTS_PER_CHANGE) === 0) await this.#change();
    }
  }

  /** All clients leave; resolves when they are gone. */
  async leave(): Promise<void> {
    for (const { leave } of this.#open) leave();
    await Promise.all([...this.#open].map(({ ended }) => ended));
  }

  /** All sandboxes are removed. */
  async end(): Promise<void> {
    for (const name of NAMES) await this.#remove(name);
  }

  async #waitForOne(): Promise<void> {
    const [oldest] = this.#open;
    if (oldest === undefined) return;
    const patienceMs = PATIENCE_MS - (performance.now() - oldest.startedAt);
    let timer: ReturnType<typeof setTimeout> | undefined;
    const impatient = new Promise<void>((resolve) => (timer = setTimeout(resolve, Math.max(0, patienceMs))));
    await Promise.race([...[...this.#open].map(({ ended }) => ended), impatient]);
    clearTimeout(timer);
    if (performance.now() - oldest.startedAt < PATIENCE_MS) return;
    oldest.leave();
    await oldest.ended;
  }

  #begin(): void {
    const { random, misbehaviours, onClient } = this.#options;
    this.#begun++;
    const isWebSocket = random.integer(2) === 0;
    const clients = isWebSocket ? WEBSOCKET_CLIENTS : HTTP_CLIENTS;
    const client = clients[random.integer(clients.length)];
    const index = this.#pickMisbehaviour(isWebSocket);
    const seed = random.integer(2 ** 31);
    const name = random.pick(NAMES);
    const requestId = `leak-${this.#begun}`;
    const heads = this.#createHeads({ name, path: misbehaviourPath(index, seed), requestId });
    if (client === undefined) return;
    onClient?.(requestId, `the client that ${client.name}, at the sandbox that ${misbehaviours[index]?.name}`);
    const left = Promise.withResolvers<void>();
    const run = async (): Promise<void> => {
      await this.#runClient(client, { ...heads, random: createRandom(seed), leave: left.promise });
      this.#open.delete(open);
    };
    const open: OpenClient = {
      startedAt: performance.now(),
      leave: left.resolve,
      ended: Promise.resolve().then(run),
    };
    this.#open.add(open);
  }

  /** Any one; for half of the handshakes one that accepts them. */
  #pickMisbehaviour(isWebSocket: boolean): number {
    const { random, misbehaviours } = this.#options;
    const accepting = [...misbehaviours.keys()].filter((index) => misbehaviours[index]?.accepts === true);
    const index = random.integer(misbehaviours.length);
    if (!isWebSocket || random.integer(2) === 0) return index;
    return accepting[index % accepting.length] ?? index;
  }

  async #runClient(client: RudeClient, plan: Parameters<RudeClient["act"]>[1]): Promise<void> {
    const line = await openLine(this.#options.target.port);
    try {
      // Whatever it waits for, such as a write that nobody takes: it leaves when it is told to.
      await Promise.race([client.act(line, plan), plan.leave]);
    } finally {
      line.socket.destroy();
    }
  }

  #createHeads(options: { readonly name: string; readonly path: string; readonly requestId: string }) {
    const { name, path, requestId } = options;
    const { random } = this.#options;
    const port = random.integer(40) === 0 ? CLOSED_PORT : this.#options.sandboxPort;
    const address = `203.0.113.${1 + random.integer(5)}`;
    const known = this.#sandboxes.get(name)?.token ?? "";
    const token = random.integer(20) === 0 ? "stale" : known;
    const shared =
      `Host: x\r\nOpenSandbox-Ingress-To: ${name}-${port}\r\nX-Forwarded-For: ${address}\r\nX-Request-Id: ${requestId}\r\n` +
      (token === "" ? "" : `OpenSandbox-Secure-Access: ${token}\r\n`);
    const head = (method: string, extra = ""): string => `${method} ${path} HTTP/1.1\r\n${shared}${extra}`;
    const key = Buffer.from(random.text("abcdefghijklmnop", 16)).toString("base64");
    const upgrade = `Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\n\r\n`;
    return { head, handshake: head("GET", upgrade) };
  }

  /** One sandbox changes: its address, its uid, its credential, its readiness; or it goes, or comes again. */
  async #change(): Promise<void> {
    const { random, endpoints = SANDBOX_HOSTS } = this.#options;
    const endpoint = random.pick(endpoints);
    const kind = random.pick(["move", "move", "remove", "replace", "token", "readiness"]);
    // Whoever is away comes back first: else most clients would find nobody.
    const away = NAMES.find((each) => this.#sandboxes.get(each)?.ready !== true);
    const name = away ?? random.pick(NAMES);
    const known = this.#sandboxes.get(name);
    if (known === undefined) return this.#set({ name, uid: newUid(), endpoint, token: "", ready: true });
    if (away !== undefined) return this.#set({ ...known, ready: true });
    switch (kind) {
      case "move":
        return this.#set({ ...known, endpoint });
      case "remove":
        return this.#remove(name);
      case "replace":
        return this.#set({ ...known, uid: newUid() });
      case "token":
        return this.#set({ ...known, token: known.token === "" ? `token-${random.integer(1_000)}` : "" });
      case "readiness":
        return this.#set({ ...known, ready: false });
    }
  }

  async #set(sandbox: MixSandbox): Promise<void> {
    this.#sandboxes.set(sandbox.name, sandbox);
    await this.#options.target.setSandbox(sandbox);
  }

  async #remove(name: string): Promise<void> {
    this.#sandboxes.delete(name);
    await this.#options.target.removeSandbox(name);
  }
}

function newUid(): string {
  return randomBytes(8).toString("hex");
}
