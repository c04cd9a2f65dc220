import { runCurl } from "../http-load.ts";
import { GIB } from "../stage.ts";
import { ALL, type BenchCase, measure, requestFor, routeHeader } from "./bench-case.ts";

const COMMON = { unit: "GB", compared: "perSecond", needs: "curl", contenders: ALL } as const;

const download: BenchCase = {
  ...COMMON,
  name: "download-1g",
  title: "1 GB down, one stream",
  run: (target, { stage }) => measure(target, () => runCurl(requestFor(target, stage, "/1g"), { bytes: GIB }), 1),
};

const chunkedDownload: BenchCase = {
  ...COMMON,
  name: "chunked-1g",
  title: "1 GB down in chunks, one stream",
  run(target, { stage }) {
    const origin = target.name === "upstream" ? `http://127.0.0.1:${stage.chunkedPort}` : target.origin;
    const request = { url: `${origin}/chunked/1g`, headers: routeHeader(stage.chunkedPort) };
    return measure(target, () => runCurl(request, { bytes: GIB }), 1);
  },
};

const upload: BenchCase = {
  ...COMMON,
  name: "upload-1g",
  title: "1 GB up, one stream",
  run(target, { stage }) {
    const origin = target.name === "upstream" ? `http://127.0.0.1:${stage.sinkPort}` : target.origin;
    const request = { url: `${origin}/upload`, headers: routeHeader(stage.sinkPort) };
    return measure(target, () => runCurl(request, { bytes: GIB, uploadFile: stage.largeFile }), 1);
  },
};

export const TRANSFER_CASES: readonly BenchCase[] = [download, chunkedDownload, upload];
