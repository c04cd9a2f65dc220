import { request } from "node:http";

/** An answer, read whole. */
export interface AskedAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
}

export interface AskOptions {
  readonly method?: string;
  /** `Host` is sent as it stands here. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** The address that the server sees. Linux has all of 127.0.0.0/8. */
  readonly from?: string;
}

/** Asks over a new connection, with headers that `fetch` does not let anybody set. Rejects when the connection fails. */
export function askRaw(port: number, path: string, options: AskOptions = {}): Promise<AskedAnswer> {
  const { method = "GET", headers = {}, body, from } = options;
  return new Promise((resolve, reject) => {
    const asked = request(
      {
        host: "127.0.0.1",
        port,
        path,
        method,
        headers,
        agent: false,
        setHost: !("Host" in headers),
        localAddress: from,
      },
      (answer) => {
        let text = "";
        answer.setEncoding("utf8");
        answer.on("data", (part: string) => (text += part));
        answer.on("end", () => resolve({ status: answer.statusCode ?? 0, headers: answer.headers, text }));
        answer.on("error", reject);
      },
    );
    asked.on("error", reject);
    asked.end(body);
  });
}
