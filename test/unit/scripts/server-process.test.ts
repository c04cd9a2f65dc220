import { describe, expect, test } from "bun:test";
import { findFreePort } from "../../../scripts/lib/free-port.ts";
import { startServerProcess } from "../../../scripts/lib/server-process.ts";

/** Listens on the port that it is told, says so, and stays; a taken port ends it. */
const LISTEN = `
  require("node:net").createServer((socket) => socket.end()).listen(Number(process.argv[1]), "127.0.0.1", () => console.log("ready"));
`;
const listenOn = (port: number | undefined) => [process.execPath, "-e", LISTEN, String(port)];
const causeOf = (error: unknown): unknown => (error instanceof Error ? error.cause : undefined);
const saysReady = (server: { readOutput(): string }) => /^ready$/m.test(server.readOutput());

describe("startServerProcess", () => {
  test("startServerProcess returns a ready server, and kills it on disposal", async () => {
    const server = await startServerProcess({
      name: "x",
      ports: 1,
      command: ([port]) => listenOn(port),
      isReady: saysReady,
    });
    expect(server.hasEnded()).toBe(false);
    const [port = 0] = server.ports;
    const socket = await Bun.connect({ hostname: "127.0.0.1", port, socket: { data() {} } });
    socket.end();
    await server[Symbol.asyncDispose]();
    expect(await server.exited).toBe("SIGKILL");
  });

  test("startServerProcess uses other ports if one is taken when the server starts", async () => {
    using taken = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
    const tried: number[] = [];
    await using server = await startServerProcess({
      name: "x",
      ports: 1,
      command: ([port = 0]) => listenOn(tried.push(port) === 1 ? taken.port : port),
      isReady: saysReady,
    });
    expect(tried).toHaveLength(2);
    expect(server.ports).toEqual([tried[1] ?? 0]);
  });

  test("startServerProcess waits for a port that it has to have", async () => {
    const taken = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
    let starts = 0;
    await using server = await startServerProcess({
      name: "x",
      ports: [taken.port],
      command: ([port]) => {
        if (++starts === 2) taken.stop(true);
        return listenOn(port);
      },
      isReady: saysReady,
    });
    expect(starts).toBe(2);
    expect(server.ports).toEqual([taken.port]);
  });

  test("startServerProcess is not taken in by another server on the port", async () => {
    using taken = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
    const start = startServerProcess({
      name: "the impostor's victim",
      ports: [taken.port],
      command: ([port]) => listenOn(port),
      isReady: async (server) => {
        await server.exited;
        return true;
      },
    });
    expect(await start.catch(String)).toContain("Cannot start the impostor's victim");
  });

  test("startServerProcess throws at once, with the output, when the server ends early", async () => {
    const start = startServerProcess({
      name: "x",
      command: () => [process.execPath, "-e", 'console.error("no such option"); process.exit(3)'],
      isReady: () => false,
    });
    expect(await start.catch(String)).toBe("Error: Cannot start x: no such option");
    expect(await start.catch(causeOf)).toMatchObject({ message: "it ended early: 3" });
  });

  test("startServerProcess kills a server that is not ready in time, and reports why", async () => {
    const fault = new Error("nothing there");
    let pid = 0;
    const start = startServerProcess({
      name: "x",
      ports: 1,
      command: ([port]) => listenOn(port),
      isReady: (server) => {
        pid = server.pid;
        throw fault;
      },
      startMaxMs: 1,
    });
    expect(await start.catch(causeOf)).toMatchObject({ cause: fault });
    expect(() => process.kill(pid, 0)).toThrow();
  });
});

test("findFreePort returns ports on which a server can listen, and that no outgoing connection gets", () => {
  for (let i = 0; i < 50; i++) {
    const port = findFreePort();
    Bun.listen({ hostname: "127.0.0.1", port, socket: { data() {} } }).stop(true);
    if (process.platform === "linux") expect(port).toBeLessThan(32_768);
  }
});
