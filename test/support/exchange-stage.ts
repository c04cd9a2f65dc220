import type { AccessGrant } from "../../src/access/request.ts";
import type { IngressErrorCode } from "../../src/errors.ts";
import { BodyFlow } from "../../src/proxy/exchange/body-flow.ts";
import { Exchange, type ExchangeObserver } from "../../src/proxy/exchange/exchange.ts";
import { MemoryAccount } from "../../src/proxy/exchange/memory-account.ts";
import { ExchangeRegister } from "../../src/proxy/exchange/register.ts";
import { type IdleProofSeams, WatchSlots } from "../../src/proxy/upstream/idle-proofs.ts";
import { createUpstreamPool } from "../../src/proxy/upstream/upstream.ts";

import { createFakeClock, type FakeClock } from "../../scripts/lib/stage/fake-clock.ts";
import { sandboxRecord } from "../../scripts/lib/stage/sandbox-objects.ts";

/** What an exchange of a test is like. */
export interface ExchangeOptions {
  /** Default: `sb`. */
  readonly sandbox?: string;
  /** The client's address; default: one that many share. */
  readonly client?: string;
  /** Who names the client; default: the client itself. */
  readonly peer?: string;
  readonly grant?: AccessGrant;
}

/** Exchanges on a register and a clock of their own, without a server. */
export interface ExchangeStage {
  readonly clock: FakeClock;
  readonly register: ExchangeRegister;
  /** How exchanges ended, in order: a code, or undefined where all went well. */
  readonly ends: readonly { readonly exchange: Exchange; readonly code: IngressErrorCode | undefined }[];
  /** Exchanges that were cut while they were leaving. */
  readonly cutUnread: readonly Exchange[];
  readonly open: (options?: ExchangeOptions) => Exchange;
  /** An exchange whose client owes a read of a streamed answer since now. */
  readonly openStalledDownload: (options?: ExchangeOptions) => Exchange;
  /** An exchange whose sandbox owes a read of the request's body since now. */
  readonly openStalledUpload: (options?: ExchangeOptions) => Exchange;
  /** An exchange whose answer of so many bytes is with Bun whole. */
  readonly openLeaving: (bytes: number, options?: ExchangeOptions) => Exchange;
}

/** A kernel that tells nothing of connections. */
export function blindProofs(clock: FakeClock): IdleProofSeams {
  return { clock, openConnections: () => Promise.resolve(undefined), slots: new WatchSlots() };
}

export function createExchangeStage(
  options: { readonly budgetBytes?: number; readonly observer?: Partial<ExchangeObserver> } = {},
): ExchangeStage {
  const clock = createFakeClock();
  const register = new ExchangeRegister(new MemoryAccount(options.budgetBytes ?? Number.MAX_SAFE_INTEGER));
  const upstreams = createUpstreamPool(blindProofs(clock));
  const ends: { exchange: Exchange; code: IngressErrorCode | undefined }[] = [];
  const cutUnread: Exchange[] = [];
  const observer: ExchangeObserver = {
    onActivity() {},
    onHead() {},
    onEnd: (exchange, { error }) => void ends.push({ exchange, code: error?.code }),
    onCutUnread: (exchange) => void cutUnread.push(exchange),
    ...options.observer,
  };
  const open = ({ sandbox = "sb", client, peer, grant = { kind: "open" } }: ExchangeOptions = {}): Exchange => {
    const record = sandboxRecord({ namespace: "default", name: sandbox, uid: `uid-${sandbox}`, endpoint: "10.0.0.7" });
    const now = clock.monotonic();
    const path = "/";
    return new Exchange(
      {
        request: new Request("http://h.test/"),
        route: {
          form: "header",
          sandboxId: sandbox,
          port: 80,
          path,
          signature: undefined,
          signedPath: path,
          prefix: "",
        },
        path,
        query: "",
        trace: undefined,
        bodyLength: 0,
        hostPort: "10.0.0.7:80",
        browser: {
          hostHeader: "10.0.0.7:80",
          hostPort: "10.0.0.7:80",
          clientHost: "",
          requestHost: "h.test",
          scheme: "http",
          prefix: "",
          plainPrefix: "",
          pagePrefix: "",
          turnsOrigin: false,
          keepsPrefix: false,
          keepsCookieDomain: false,
          cors: undefined,
          varies: [],
        },
        clientAddress: client ?? "10.0.0.1",
        door: { scheme: "http", isRetired: false },
        isUpgrade: false,
        requestId: "id",
        isLast: false,
        use: undefined,
        grant,
        startedAt: now,
      },
      {
        upstream: upstreams.acquire(record, now),
        client: client === undefined ? undefined : register.shareOfClient({ client, peer: peer ?? client }),
        register,
        observer,
      },
    );
  };
  const stall = (exchange: Exchange, direction: "upload" | "download"): Exchange => {
    const now = clock.monotonic();
    exchange[direction] = new BodyFlow(now);
    exchange[direction].push(now);
    exchange.noteTurn();
    return exchange;
  };
  const begin = (exchange: Exchange): Exchange => {
    exchange.connect(clock.monotonic());
    exchange.answered(clock.monotonic());
    exchange.stream(200);
    return exchange;
  };
  return {
    clock,
    register,
    ends,
    cutUnread,
    open,
    openStalledDownload: (about) => stall(begin(open(about)), "download"),
    openStalledUpload(about) {
      const exchange = open(about);
      exchange.connect(clock.monotonic());
      return stall(exchange, "upload");
    },
    openLeaving(bytes, about) {
      const exchange = begin(open(about));
      exchange.bytesOut = bytes;
      exchange.leave();
      return exchange;
    },
  };
}
