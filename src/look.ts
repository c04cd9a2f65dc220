import { createAccessChecker } from "./access/checker.ts";
import { FailureLimiter } from "./access/failure-limiter.ts";
import { createAccessKeysSource } from "./access/keys-file.ts";
import { type ExplainAnswer, toExplainAnswer } from "./admin/explain-page.ts";
import { SandboxList, type SandboxPage } from "./admin/sandbox-list.ts";
import type { SandboxQuery } from "./admin/sandbox-query.ts";
import type { Clock } from "./clock.ts";
import type { Config } from "./config/parse-config.ts";
import type { Logger } from "./log/logger.ts";
import { PolicyGate } from "./proxy/exchange/policy-gate.ts";
import { explainRequest } from "./proxy/explain/explain.ts";
import type { AskedRequest } from "./proxy/explain/question.ts";
import { createClientAddressResolver } from "./proxy/request/client-address.ts";
import { createSyncGate } from "./proxy/sync-gate.ts";
import { createDnsLookup } from "./proxy/upstream/dns-lookup.ts";
import { createEndpointLocator } from "./proxy/upstream/locator.ts";
import { createNameResolver } from "./proxy/upstream/name-resolver.ts";
import type { SandboxProvider } from "./sandbox/provider.ts";
import { buildEndpointRules, createProvider, type SourceSeams } from "./source.ts";

/** Time for the first list, in milliseconds: twice what 100,000 sandboxes take. */
const FIRST_LIST_MAX_MS = 30_000;
/** How long a fault may last before the look gives up, in milliseconds. A restart of an API server takes less. */
const FAULT_MAX_MS = 3_000;
/** How often the fault is checked, in milliseconds. */
const FAULT_LOOK_MS = 250;

/** The address of the asker, since there is no connection. */
const OWN_ADDRESS = "127.0.0.1";

/** Sees sandboxes as an ingress with this configuration would, and serves nothing. */
export interface Look {
  /** Reads keys and sandboxes. Rejects with an Error that says why this failed. */
  start(): Promise<void>;
  explain(asked: AskedRequest): Promise<ExplainAnswer>;
  sandboxes(query: SandboxQuery): Promise<SandboxPage>;
  stop(): Promise<void>;
}

/** Waits for the first list. Rejects with the provider's fault if it lasts. */
async function waitForList(provider: SandboxProvider, clock: Clock): Promise<void> {
  const startedAt = clock.monotonic();
  let faultySince: number | undefined;
  while (!(await provider.whenSynced(FAULT_LOOK_MS))) {
    const now = clock.monotonic();
    const { fault } = provider.status();
    faultySince = fault === undefined ? undefined : (faultySince ?? now);
    const isLost = faultySince !== undefined && now - faultySince >= FAULT_MAX_MS;
    if (isLost || now - startedAt >= FIRST_LIST_MAX_MS)
      throw new Error(fault ?? "The list of sandboxes did not come in time");
  }
}

/** Touches neither network nor files before `start`. */
export async function createLook(config: Config, seams: SourceSeams & { readonly logger: Logger }): Promise<Look> {
  const { clock, logger } = seams;
  const endpoints = buildEndpointRules(config, seams);
  const { provider } = await createProvider(config, { ...seams, endpoints });
  const keys = createAccessKeysSource({
    inline: config.secureAccessKeys,
    file: config.secureAccessKeysFile,
    logger,
    clock,
  });
  const names = createNameResolver({
    lookup: createDnsLookup(endpoints),
    judge: endpoints.judge,
    logger,
    clock,
    connectTimeoutMs: config.connectTimeoutMs,
    isInUse: () => false,
    onAddressGone: () => {},
  });
  const locator = createEndpointLocator(names);
  const sandboxes = new SandboxList({
    provider,
    providerType: config.providerType,
    clock,
    // Every state may be older than this process.
    syncedAtMs: () => undefined,
  });
  return {
    async start() {
      await keys.start();
      await provider.start();
      await waitForList(provider, clock);
    },
    async explain(asked) {
      const explanation = await explainRequest(asked, OWN_ADDRESS, {
        mode: config.mode,
        maxBodyBytes: config.maxBodyBytes,
        clock,
        provider,
        access: createAccessChecker({ keys: () => keys.current(), failures: new FailureLimiter({ clock }), clock }),
        resolveClientAddress: createClientAddressResolver(config.trustedProxies),
        policies: new PolicyGate(config, clock),
        ensureSynced: createSyncGate(provider),
        locate: (hostPort) => locator.locateHostPort(hostPort),
      });
      return toExplainAnswer(explanation, sandboxes);
    },
    sandboxes: (query) => sandboxes.page(query),
    async stop() {
      keys.stop();
      names.stop();
      await provider.stop();
    },
  };
}
