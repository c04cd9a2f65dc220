import { describe, expect, test } from "bun:test";
import { once } from "node:events";
import { closeSync, fstatSync, openSync, readdirSync, readlinkSync } from "node:fs";
import { connect, createServer } from "node:net";

import { readOwnSockets } from "../../../src/host/own-sockets.ts";

/** Empty: the descriptor was the folder's own, and is closed. */
function linkOf(descriptor: string): string {
  try {
    return readlinkSync(`/proc/self/fd/${descriptor}`);
  } catch {
    return "";
  }
}

function readSocketLinks(): Set<number> {
  const inodes = readdirSync("/proc/self/fd").map((name) => /^socket:\[(\d+)\]$/.exec(linkOf(name))?.[1]);
  return new Set(inodes.filter((inode) => inode !== undefined).map(Number));
}

describe("readOwnSockets", () => {
  test("has the sockets of this process as /proc/self/fd shows them, and no file", async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const address = server.address();
    const accepted = once(server, "connection");
    const socket = connect({ host: "127.0.0.1", port: typeof address === "object" ? (address?.port ?? 0) : 0 });
    // More than one slice of the event loop.
    const files = Array.from({ length: 600 }, () => openSync(import.meta.path, "r"));
    try {
      await accepted;
      const links = readSocketLinks();
      expect(links.size).toBeGreaterThanOrEqual(3);
      const own = await readOwnSockets();
      expect(own).toEqual(links);
      expect(own?.has(fstatSync(files[0] ?? 0).ino)).toBe(false);
    } finally {
      for (const file of files) closeSync(file);
      socket.destroy();
      server.close();
    }
  });

  test("returns undefined if there are more descriptors than it reads", async () => {
    expect(await readOwnSockets(1)).toBeUndefined();
    expect(await readOwnSockets(10_000)).toBeInstanceOf(Set);
  });
});
