import { expect } from "bun:test";

import { type ProxyHarness, startProxy } from "../../scripts/lib/stage/proxy-harness.ts";
import { rawRequest } from "../../scripts/lib/stage/raw-client.ts";
import { type RecordingUpstream, startRecordingUpstream } from "./recording-upstream.ts";

/** A proxy with a sandbox `sb` behind it that records its requests. */
export interface RecordingStage extends AsyncDisposable {
  readonly proxy: ProxyHarness;
  readonly upstream: RecordingUpstream;
  /** The header line that routes there, with its line end. */
  readonly route: string;
  /** Sends its own request to `BARRIER_TARGET`: when it is answered, all earlier bytes have been read. */
  barrier(): Promise<void>;
}

export const BARRIER_TARGET = "/barrier";

export async function startRecordingStage(): Promise<RecordingStage> {
  const upstream = await startRecordingUpstream();
  const proxy = startProxy();
  proxy.provider.set({ name: "sb" });
  const route = `OpenSandbox-Ingress-To: sb-${upstream.port}\r\n`;
  return {
    proxy,
    upstream,
    route,
    async barrier() {
      const answer = await rawRequest(proxy.port, `GET ${BARRIER_TARGET} HTTP/1.1\r\nHost: h.test\r\n${route}\r\n`);
      expect(answer.status).toBe(200);
    },
    async [Symbol.asyncDispose]() {
      await proxy[Symbol.asyncDispose]();
      await upstream[Symbol.asyncDispose]();
    },
  };
}
