import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createKubeClient } from "../../src/kube/client.ts";
import type { KubeConfigSource } from "../../src/kube/credentials.ts";
import { KubeError } from "../../src/kube/errors.ts";
import { hasOpenssl, makeClientCertificate, type ClientCertificate } from "../support/client-certificate.ts";
import { startKubeApiServer, type KubeApiServer } from "../../scripts/lib/kube/kube-api-server.ts";
import { KUBE_BUILD_MAX_MS } from "../../scripts/lib/kube/kube-binaries.ts";
import { hasKubeApiServer } from "../support/kube-fixture.ts";
import { tempDir } from "../support/temp-dir.ts";

setDefaultTimeout(60_000);

const canRun = [hasKubeApiServer(), hasOpenssl()].every(Boolean);

describe.skipIf(!canRun)("createKubeClient: TLS to a real API server", () => {
  const dir = tempDir();
  let server: KubeApiServer;
  let certificate: ClientCertificate;
  beforeAll(async () => {
    certificate = await makeClientCertificate(dir.path, "/O=system:masters/CN=by-certificate");
    server = await startKubeApiServer({ dir: dir.path, args: [`--client-ca-file=${certificate.caFile}`] });
  }, KUBE_BUILD_MAX_MS);
  afterAll(async () => {
    await server?.stop();
    dir[Symbol.dispose]();
  });

  interface Parts {
    readonly cluster?: Record<string, unknown>;
    readonly user?: Record<string, unknown>;
  }

  function source(name: string, parts: Parts): KubeConfigSource {
    const kubeconfig = join(dir.path, `${name}.kubeconfig`);
    const config = {
      "current-context": "c",
      contexts: [{ name: "c", context: { cluster: "k", user: "u" } }],
      clusters: [{ name: "k", cluster: { server: server.url, ...parts.cluster } }],
      users: [{ name: "u", user: parts.user ?? { token: server.adminToken } }],
    };
    writeFileSync(kubeconfig, JSON.stringify(config));
    return { kubeconfig, environment: {} };
  }

  /** The status of a request that needs permission, or the failure. */
  async function ask(from: KubeConfigSource): Promise<number | string> {
    try {
      const { signal } = new AbortController();
      const response = await createKubeClient(from).get("/api/v1/namespaces/kube-system", { signal });
      await response.text();
      return response.status;
    } catch (error) {
      return error instanceof KubeError ? `${error.kind} ${error.message}` : String(error);
    }
  }

  test("trusts the authority of the kubeconfig, as a file and inline", async () => {
    expect(await ask(source("file", { cluster: { "certificate-authority": server.caFile } }))).toBe(200);
    const inline = readFileSync(server.caFile).toString("base64");
    expect(await ask(source("inline", { cluster: { "certificate-authority-data": inline } }))).toBe(200);
  });

  test("trusts no server without its authority, and reports this", async () => {
    expect(await ask(source("system", {}))).toMatch(/^unreachable .*CERT/);
    expect(await ask(source("wrong", { cluster: { "certificate-authority": certificate.caFile } }))).toMatch(
      /^unreachable .*(CERT|ISSUER)/,
    );
  });

  test("trusts any server with insecure-skip-tls-verify", async () => {
    expect(await ask(source("insecure", { cluster: { "insecure-skip-tls-verify": true } }))).toBe(200);
  });

  test("expects the name of tls-server-name", async () => {
    const authority = { "certificate-authority": server.caFile };
    expect(await ask(source("name", { cluster: { ...authority, "tls-server-name": "kubernetes.default" } }))).toBe(200);
    expect(await ask(source("other", { cluster: { ...authority, "tls-server-name": "wrong.example" } }))).toMatch(
      /^unreachable .*CERT/,
    );
  });

  test("shows a client certificate, as files and inline", async () => {
    const cluster = { "certificate-authority": server.caFile };
    const { certFile, keyFile } = certificate;
    const files = { "client-certificate": certFile, "client-key": keyFile };
    expect(await ask(source("cert-files", { cluster, user: files }))).toBe(200);
    const base64 = (file: string) => readFileSync(file).toString("base64");
    const inline = { "client-certificate-data": base64(certFile), "client-key-data": base64(keyFile) };
    expect(await ask(source("cert-inline", { cluster, user: inline }))).toBe(200);
    expect(await ask(source("cert-none", { cluster, user: {} }))).toBe(403);
  });

  test("takes up certificates that were replaced, without a restart", async () => {
    const authority = join(dir.path, "rotating-ca.pem");
    writeFileSync(authority, readFileSync(certificate.caFile));
    const client = createKubeClient(source("rotating", { cluster: { "certificate-authority": authority } }));
    const { signal } = new AbortController();
    expect(client.get("/readyz", { signal })).rejects.toMatchObject({ kind: "unreachable" });
    writeFileSync(authority, readFileSync(server.caFile));
    expect((await client.get("/readyz", { signal })).status).toBe(200);
  });

  test("uses the service account of the pod that it runs in", async () => {
    const serviceAccountDir = join(dir.path, "service-account");
    mkdirSync(serviceAccountDir);
    writeFileSync(join(serviceAccountDir, "token"), server.adminToken);
    writeFileSync(join(serviceAccountDir, "ca.crt"), readFileSync(server.caFile));
    const environment = { KUBERNETES_SERVICE_HOST: "127.0.0.1", KUBERNETES_SERVICE_PORT: String(server.port) };
    expect(await ask({ kubeconfig: undefined, environment, serviceAccountDir })).toBe(200);
  });
});
