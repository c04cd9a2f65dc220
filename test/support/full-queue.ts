/** A running Python script: listeners of Bun and Node accept by themselves, so their queues never fill. */
export interface PythonScript extends AsyncDisposable {
  /** The next line that it prints. Throws if it has ended. */
  says(): Promise<string>;
}

/** Listens at `port` with the shortest possible queue. */
export const PYTHON_LISTEN = `
import socket, time
s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen(0)
port = s.getsockname()[1]
`;

/** Fills that queue: from now on SYNs are dropped, as at an address without a host. */
export const PYTHON_FILL_QUEUE = `
held = []
for _ in range(8):
    h = socket.socket(); h.setblocking(False)
    try: h.connect(("127.0.0.1", port))
    except BlockingIOError: pass
    held.append(h)
`;

/** Starts a script. Disposal kills it. */
export function startPython(script: string): PythonScript {
  const child = Bun.spawn(["python3", "-c", script], { stdout: "pipe", stderr: "inherit" });
  const reader = child.stdout.getReader();
  const decoder = new TextDecoder();
  let text = "";
  return {
    async says() {
      for (;;) {
        const end = text.indexOf("\n");
        if (end >= 0) {
          const line = text.slice(0, end);
          text = text.slice(end + 1);
          return line;
        }
        const { value, done } = await reader.read();
        if (done) throw new Error("the Python script has ended");
        text += decoder.decode(value, { stream: true });
      }
    },
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await child.exited;
    },
  };
}
