import { join } from "node:path";

import type { LeakTarget, MixSandbox } from "../../scripts/lib/leaks/leak-mix.ts";
import { countSockets } from "../../scripts/lib/leaks/nothing-open.ts";
import type { ProxyConfig } from "../../src/proxy/proxy-config.ts";

/** What the parent asks of the process. */
export type LeakCall =
  | { readonly kind: "set"; readonly sandbox: MixSandbox }
  | { readonly kind: "remove"; readonly name: string }
  | { readonly kind: "look" }
  | { readonly kind: "objects" }
  | { readonly kind: "ended" }
  | { readonly kind: "drain"; readonly drainMs: number };

/** What is open and held in the process. */
export interface LeakLook {
  readonly counters: Readonly<Record<string, number>>;
  /** Metrics of what is open now, by name. */
  readonly gauges: Readonly<Record<string, number>>;
  /** Timers of the proxy that are set. */
  readonly timers: number;
  /** Unhandled rejections, uncaught exceptions, and exchanges that a bug ended. */
  readonly faults: readonly string[];
}

/** Objects on the heap, after a collection of garbage, by their type. */
export type LeakObjects = Readonly<Record<string, number>>;

export interface LeakReply {
  readonly id: number;
  /** What was asked for; without any, it is done. */
  readonly look?: LeakLook;
  readonly objects?: LeakObjects;
  readonly ended?: readonly string[];
}

/** A proxy in a process of its own; disposing of it kills it. */
export interface LeakProxy extends LeakTarget, AsyncDisposable {
  look(): Promise<LeakLook>;
  objects(): Promise<LeakObjects>;
  /** The ids of all requests that have ended. */
  ended(): Promise<readonly string[]>;
  drain(drainMs: number): Promise<void>;
  /** Sockets that the process has open. */
  sockets(): number;
}

export async function startLeakProxy(config: Partial<ProxyConfig>): Promise<LeakProxy> {
  const started = Promise.withResolvers<number>();
  const waiting = new Map<number, PromiseWithResolvers<LeakReply>>();
  let calls = 0;
  const child = Bun.spawn([process.execPath, join(import.meta.dir, "leak-proxy-child.ts")], {
    stdio: ["ignore", "inherit", "inherit"],
    ipc(message: LeakReply | { readonly port: number }) {
      if ("port" in message) return started.resolve(message.port);
      waiting.get(message.id)?.resolve(message);
      waiting.delete(message.id);
    },
    onExit(_process, exitCode, signal) {
      const error = new Error(`the proxy has ended: ${signal ?? exitCode}`);
      started.reject(error);
      for (const { reject } of waiting.values()) reject(error);
    },
  });
  child.send(config);
  const ask = (call: LeakCall): Promise<LeakReply> => {
    const id = calls++;
    const reply = Promise.withResolvers<LeakReply>();
    waiting.set(id, reply);
    child.send({ id, call });
    return reply.promise;
  };
  return {
    port: await started.promise,
    async setSandbox(sandbox) {
      await ask({ kind: "set", sandbox });
    },
    async removeSandbox(name) {
      await ask({ kind: "remove", name });
    },
    async look() {
      const { look } = await ask({ kind: "look" });
      if (look === undefined) throw new Error("no look");
      return look;
    },
    async objects() {
      const { objects } = await ask({ kind: "objects" });
      if (objects === undefined) throw new Error("no objects");
      return objects;
    },
    ended: async () => (await ask({ kind: "ended" })).ended ?? [],
    async drain(drainMs) {
      await ask({ kind: "drain", drainMs });
    },
    sockets: () => countSockets(child.pid),
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await child.exited;
    },
  };
}
