import type { Clock } from "../../clock.ts";
import type { KubeClient, KubeWriter } from "../../kube/client.ts";
import { explainFault, toKubeError } from "../../kube/errors.ts";
import { readKubeJson } from "../../kube/read-json.ts";
import { buildResourcePath, type KubeResource } from "../../kube/resource.ts";
import type { Logger } from "../../log/logger.ts";
import { isObject } from "../../values.ts";
import type { ProviderType, SandboxRecord, SandboxWaker, WakeResult } from "../provider.ts";
import { sandboxResourceOf } from "./resources.ts";

/** How often an object that somebody else changed meanwhile is read again. */
const ATTEMPTS_MAX = 5;
/** Longest wait for an answer of the API server, in milliseconds: a part of the time that a request waits for a wake. */
const WAIT_MAX_MS = 10_000;
/** Longest object, in characters: etcd takes 1.5 MiB. */
const OBJECT_MAX_CHARS = 3 * 1024 * 1024;

/** How the spec of a kind says that it is paused, and what makes it run. */
interface Switch {
  readonly isPaused: (spec: Readonly<Record<string, unknown>>) => boolean;
  readonly running: Readonly<Record<string, unknown>>;
}

const SWITCHES: Readonly<Record<ProviderType, Switch>> = {
  batchsandbox: { isPaused: (spec) => spec["pause"] === true, running: { pause: false } },
  "agent-sandbox": {
    isPaused: (spec) => spec["operatingMode"] === "Suspended",
    running: { operatingMode: "Running" },
  },
};

export interface KubeWakerOptions {
  readonly client: KubeWriter;
  readonly providerType: ProviderType;
  readonly logger: Logger;
  readonly clock: Clock;
}

/**
 * Wakes sandboxes by one PATCH of their spec. The PATCH names the uid and the resource version that were read just before, so it
 * never changes what somebody else has changed: then the object is read again.
 */
export function createKubeWaker(options: KubeWakerOptions): SandboxWaker {
  const { client, providerType, logger, clock } = options;
  const { group, plural, findVersion } = sandboxResourceOf(providerType, client, { clock });
  const { isPaused, running } = SWITCHES[providerType];
  // A started wake is never cancelled: the time limits of its requests end it.
  const { signal } = new AbortController();
  const limits = { clock, signal, waitMaxMs: WAIT_MAX_MS, maxChars: OBJECT_MAX_CHARS, what: "the sandbox" };

  /** Undefined: somebody else was faster. */
  async function attempt(path: string, uid: string): Promise<WakeResult | undefined> {
    const object = await readKubeJson(path, { ...limits, client });
    const metadata = isObject(object["metadata"]) ? object["metadata"] : {};
    if (metadata["uid"] !== uid) return { kind: "gone" };
    if (!isObject(object["spec"]) || !isPaused(object["spec"])) return { kind: "told" };
    const patch = { metadata: { uid, resourceVersion: metadata["resourceVersion"] }, spec: running };
    const sender: KubeClient = { get: (to, sent) => client.patch(to, patch, sent) };
    try {
      await readKubeJson(path, { ...limits, client: sender });
      return { kind: "told" };
    } catch (thrown) {
      if (toKubeError(thrown).kind === "conflict") return undefined;
      throw thrown;
    }
  }

  async function wake(resource: KubeResource, { name, uid }: SandboxRecord): Promise<WakeResult> {
    const path = `${buildResourcePath(resource)}/${encodeURIComponent(name)}`;
    for (let attempts = 0; attempts < ATTEMPTS_MAX; attempts++) {
      const result = await attempt(path, uid);
      if (result !== undefined) return result;
    }
    return { kind: "failed", reason: `somebody else changed the sandbox ${ATTEMPTS_MAX} times meanwhile` };
  }

  return {
    async wake(record) {
      const { namespace, name } = record;
      try {
        const version = await findVersion(signal);
        const result = await wake({ group, version, plural, namespace }, record);
        if (result.kind === "told") logger.info("a request wakes a sandbox", { namespace, name });
        return result;
      } catch (thrown) {
        const error = toKubeError(thrown);
        if (error.kind === "missing") return { kind: "gone" };
        return { kind: "failed", reason: explainFault(error, "patch", { group, version: "", plural, namespace }) };
      }
    },
  };
}
