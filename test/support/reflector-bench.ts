import { createKubeClient } from "../../src/kube/client.ts";
import type { ReflectorLimits } from "../../src/kube/reflector-limits.ts";
import { Reflector } from "../../src/kube/reflector.ts";
import { WatchCounts } from "../../src/kube/watch-counts.ts";
import { eventually } from "../../scripts/lib/eventually.ts";
import { eventLine, startFakeKubeApi, statusBody, type FakeKubeApi } from "./fake-kube-api.ts";
import { createHurriedClock, type HurriedClock } from "./hurried-clock.ts";
import { createRecordingLogger, type RecordingLogger } from "../../scripts/lib/stage/recording-logger.ts";
import { createRecordingStore, type RecordingStore } from "./recording-store.ts";
import { createRandom } from "../../scripts/lib/stage/random.ts";
import { tempDir } from "./temp-dir.ts";

/** A reflector with a fake API server, and everything that a test inspects. */
export interface ReflectorBench extends AsyncDisposable {
  readonly fake: FakeKubeApi;
  readonly reflector: Reflector;
  readonly store: RecordingStore;
  readonly logger: RecordingLogger;
  readonly clock: HurriedClock;
  readonly counts: WatchCounts;
  /** Starts the reflector and waits for the first list and watch. */
  begin(): Promise<void>;
  /**
   * Ends the watch with a 410 after a bookmark of the version `at` (default: the fake's), as after compaction, and
   * waits until the store has been filled again.
   */
  expire(at?: number): Promise<void>;
  /** Waits until the store has exactly the fake's objects and one watch is open. */
  settle(): Promise<void>;
  /** How often the version was requested. */
  versionsAsked(): number;
  /** The requests of a kind so far. */
  requests(kind: "list" | "watch" | "stream"): FakeKubeApi["exchanges"];
}

/** A minute passes in 3 s. Tests can shorten limits further. */
const HURRY = 20;
/** So long that a new watch after silence cannot hide what a test checks. */
const NEVER_SILENT_MS = 1_200_000;

export async function createReflectorBench(
  limits: Partial<ReflectorLimits> = {},
  options: { readonly seed?: number } = {},
): Promise<ReflectorBench> {
  const dir = tempDir();
  const fake = await startFakeKubeApi(dir.path);
  const store = createRecordingStore();
  const logger = createRecordingLogger();
  const clock = createHurriedClock(HURRY);
  const random = createRandom(options.seed ?? 1);
  const counts = new WatchCounts();
  let versionsAsked = 0;
  const reflector = new Reflector({
    client: createKubeClient({ kubeconfig: fake.kubeconfig, environment: {} }),
    resource: { group: "test.example", plural: "things", namespace: "ns" },
    findVersion: () => {
      versionsAsked += 1;
      return Promise.resolve("v1");
    },
    store,
    logger,
    onSynced() {},
    clock,
    random: () => random.integer(1000) / 1000,
    counts,
    limits: { silenceMaxMs: NEVER_SILENT_MS, ...limits },
  });
  return {
    fake,
    reflector,
    store,
    logger,
    clock,
    counts,
    async begin() {
      reflector.start();
      await eventually(() => reflector.status().synced && fake.watches.size === 1);
    },
    async expire(at = fake.version()) {
      const before = store.replacements();
      const bookmark = eventLine("BOOKMARK", { metadata: { resourceVersion: String(at) } });
      for (const watch of fake.watches)
        watch.write(bookmark + eventLine("ERROR", statusBody(410, "Expired", "too old")));
      await eventually(() => store.replacements() === before + 1 && fake.watches.size === 1);
    },
    async settle() {
      await eventually(() => fake.watches.size === 1 && Bun.deepEquals(new Map(store.objects), new Map(fake.objects)));
    },
    versionsAsked: () => versionsAsked,
    requests: (kind) => fake.exchanges.filter((exchange) => exchange.kind === kind),
    async [Symbol.asyncDispose]() {
      await reflector.stop();
      fake[Symbol.dispose]();
      dir[Symbol.dispose]();
    },
  };
}
