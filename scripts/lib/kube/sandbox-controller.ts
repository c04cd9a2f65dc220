import { eventually } from "../eventually.ts";
import type { Json, KubeApiServer } from "./kube-api-server.ts";
import { type KubeKind, BATCH_SANDBOX, collectionPath, patchObject, patchStatus } from "./kube-resources.ts";
import { isObject } from "../../../src/values.ts";

/** How often the controller looks, in milliseconds. */
const LOOK_INTERVAL_MS = 20;

/** Pauses and resumes sandboxes of one namespace, as the real controllers do: endpoint and status one after the other. */
export interface SandboxController extends AsyncDisposable {
  /** Names of the sandboxes that were resumed, in order, failed resumes included. */
  readonly resumes: readonly string[];
  /** From now on resumes fail, or not. */
  failing: boolean;
  /** From now on resumes stay under way until this is false again. */
  slow: boolean;
  /** Waits until the sandbox runs, asks for a pause, and waits until it is one. */
  pause(name: string): Promise<void>;
}

/** What is written of where a sandbox listens. */
interface Endpoint {
  readonly annotations?: Readonly<Record<string, string>>;
  readonly status: Json;
}

/** What the controllers of both kinds do differently. */
interface KindActs {
  readonly paused: Json;
  wantsPause(spec: Json): boolean;
  /** What an object says of its endpoint; undefined: nothing yet. */
  readEndpoint(object: Json): Endpoint | undefined;
  endpoint(address: string | undefined): Endpoint;
  status(phase: "Paused" | "Resuming" | "Running" | "ResumeFailed"): Json;
}

const condition = (type: string, status: string, reason: string) => ({ type, status, reason, message: "" });

const ENDPOINTS = "sandbox.opensandbox.io/endpoints";

const BATCH: KindActs = {
  readEndpoint({ metadata }) {
    const annotations = isObject(metadata) && isObject(metadata["annotations"]) ? metadata["annotations"] : {};
    const value = annotations[ENDPOINTS];
    return typeof value === "string" && value !== "[]"
      ? { annotations: { [ENDPOINTS]: value }, status: {} }
      : undefined;
  },
  paused: { pause: true },
  wantsPause: (spec) => spec["pause"] === true,
  endpoint: (address) => ({
    annotations: { [ENDPOINTS]: JSON.stringify(address === undefined ? [] : [address]) },
    status: {},
  }),
  status(phase) {
    if (phase === "Running") return { ready: 1, replicas: 1, phase: "Succeed", conditions: [] };
    const conditions = phase === "Resuming" ? [] : [condition(phase, "True", phase)];
    return { ready: 0, replicas: 1, phase: phase === "ResumeFailed" ? "Paused" : phase, conditions };
  },
};

const AGENT: KindActs = {
  readEndpoint({ status }) {
    const { podIPs } = isObject(status) ? status : {};
    return Array.isArray(podIPs) && podIPs.length > 0 ? { status: { podIPs } } : undefined;
  },
  paused: { operatingMode: "Suspended" },
  wantsPause: (spec) => spec["operatingMode"] === "Suspended",
  endpoint: (address) => ({ status: { podIPs: address === undefined ? [] : [address] } }),
  status(phase) {
    const ready = condition(
      "Ready",
      phase === "Running" ? "True" : "False",
      phase === "Paused" ? "SandboxSuspended" : phase,
    );
    return { conditions: [ready, condition("Suspended", phase === "Paused" ? "True" : "False", phase)] };
  },
};

/** @param options `address`: where its sandboxes run, but those that have an endpoint when it sees them first. */
export function startSandboxController(
  server: KubeApiServer,
  kind: KubeKind,
  options: { readonly namespace: string; readonly address: string },
): SandboxController {
  const { namespace, address } = options;
  const acts = kind === BATCH_SANDBOX ? BATCH : AGENT;
  const resumes: string[] = [];
  /** Whether each is told to run, and whether that has been done. */
  const running = new Map<string, boolean>();
  const done = new Map<string, boolean>();
  const endpoints = new Map<string, Endpoint>();
  const ending = new AbortController();

  const write = async (name: string, parts: Endpoint) => {
    if (parts.annotations !== undefined)
      await patchObject(server, kind, { namespace, name, annotations: parts.annotations });
    if (Object.keys(parts.status).length > 0)
      await patchStatus(server, kind, { namespace, name, status: parts.status });
  };
  const pauseNow = async (name: string) => {
    await write(name, acts.endpoint(undefined));
    await write(name, { status: acts.status("Paused") });
  };
  const resumeNow = async (name: string) => {
    resumes.push(name);
    await write(name, { status: acts.status("Resuming") });
    while (controller.slow && !ending.signal.aborted) await Bun.sleep(LOOK_INTERVAL_MS);
    if (controller.failing) return await write(name, { status: acts.status("ResumeFailed") });
    await write(name, endpoints.get(name) ?? acts.endpoint(address));
    await write(name, { status: acts.status("Running") });
  };
  const look = async () => {
    const list = await server.request("GET", collectionPath(kind, namespace));
    const items: readonly unknown[] = Array.isArray(list["items"]) ? list["items"] : [];
    await Promise.all(
      items.map(async (item) => {
        if (!isObject(item) || !isObject(item["metadata"])) return;
        const name = String(item["metadata"]["name"]);
        const wantsRun = !acts.wantsPause(isObject(item["spec"]) ? item["spec"] : {});
        if (running.get(name) === wantsRun) return;
        const isNew = !running.has(name);
        running.set(name, wantsRun);
        const endpoint = isNew ? acts.readEndpoint(item) : undefined;
        if (endpoint !== undefined) endpoints.set(name, endpoint);
        if (wantsRun && endpoint !== undefined) {
          done.set(name, true);
          return;
        }
        await (wantsRun ? resumeNow(name) : pauseNow(name));
        done.set(name, wantsRun);
      }),
    );
  };
  const run = async () => {
    while (!ending.signal.aborted) {
      // An API server that is away, or an object that is gone: looked at again.
      await look().catch(() => {});
      await Bun.sleep(LOOK_INTERVAL_MS);
    }
  };
  const controller: SandboxController = {
    resumes,
    failing: false,
    slow: false,
    async pause(name) {
      const path = `${collectionPath(kind, namespace)}/${name}`;
      const contentType = "application/merge-patch+json";
      await eventually(() => done.get(name) === true);
      await server.request("PATCH", path, { spec: acts.paused }, { contentType });
      await eventually(() => done.get(name) === false);
    },
    async [Symbol.asyncDispose]() {
      ending.abort();
      await over;
    },
  };
  const over = run();
  return controller;
}
