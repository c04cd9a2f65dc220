import { $ } from "bun";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type ServerProcess, startServerProcess } from "../../scripts/lib/server-process.ts";
import { requirePart } from "./requires.ts";
import { tempDir } from "./temp-dir.ts";

/** Whether Debian's `redis-server` is installed. */
export const hasRedis = requirePart("redis-server", { get: "apt-get install redis-server" });

/** A real Redis in its own folder: a TCP port, a TLS port with a certificate of a new CA, and a socket. */
export interface RedisServer extends AsyncDisposable {
  readonly port: number;
  readonly tlsPort: number;
  readonly socketPath: string;
  /** The CA of the certificate, which is for `localhost` and not for 127.0.0.1. */
  readonly caFile: string;
  /** Runs a command over the socket as the given user, and returns the output of redis-cli. */
  cli(command: readonly string[], options?: { password?: string; database?: number }): Promise<string>;
  freeze(): void;
  thaw(): void;
  /** Sends SIGKILL and resolves when it has ended. */
  kill(): Promise<void>;
  /** Starts it again on the same ports, without its data. */
  restart(): Promise<void>;
}

/** Starts a Redis that answers. `directives` are lines of a redis.conf. */
export async function startRedis(...directives: string[]): Promise<RedisServer> {
  const dir = tempDir();
  const socketPath = join(dir.path, "redis.sock");
  const caFile = await makeCertificates(dir.path);
  const configFile = join(dir.path, "redis.conf");
  const configure = ([port = 0, tlsPort = 0]: readonly number[]): string => `
    bind 127.0.0.1
    port ${port}
    unixsocket ${socketPath}
    dir ${dir.path}
    save ""
    tls-port ${tlsPort}
    tls-auth-clients no
    tls-ca-cert-file ${caFile}
    tls-cert-file ${join(dir.path, "server.pem")}
    tls-key-file ${join(dir.path, "server.key")}
  `;

  async function cli(command: readonly string[], { password = "", database = 0 } = {}): Promise<string> {
    const login = password === "" ? [] : ["--no-auth-warning", "-a", password];
    return (await $`redis-cli -s ${socketPath} -n ${database} ${login} --raw ${command}`.quiet().text()).trim();
  }
  const start = (ports: number | readonly number[]): Promise<ServerProcess> =>
    startServerProcess({
      name: "redis-server",
      ports,
      command: (chosen) => {
        writeFileSync(configFile, [configure(chosen), ...directives].join("\n"));
        return ["redis-server", configFile];
      },
      // Any answer is enough: it may require a password.
      isReady: async () => /PONG|NOAUTH/.test(await cli(["ping"])),
    });
  let server = await start(2);
  const { ports } = server;
  const [port = 0, tlsPort = 0] = ports;
  return {
    port,
    tlsPort,
    socketPath,
    caFile,
    cli,
    freeze: () => server.kill("SIGSTOP"),
    thaw: () => server.kill("SIGCONT"),
    kill: () => server.stop(),
    restart: async () => {
      server = await start(ports);
    },
    async [Symbol.asyncDispose]() {
      await server.stop();
      dir[Symbol.dispose]();
    },
  };
}

/** Writes ca.pem, server.pem and server.key; returns the path of the first. */
async function makeCertificates(dir: string): Promise<string> {
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  await $`openssl req -x509 ${key} -keyout ca.key -out ca.pem -days 2 -subj /CN=test-ca`.cwd(dir).quiet();
  await $`openssl req ${key} -keyout server.key -out server.csr -subj /CN=redis`.cwd(dir).quiet();
  await Bun.write(join(dir, "extensions"), "subjectAltName=DNS:localhost");
  const signer = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "extensions"];
  await $`openssl x509 -req -in server.csr ${signer} -out server.pem`.cwd(dir).quiet();
  return join(dir, "ca.pem");
}
