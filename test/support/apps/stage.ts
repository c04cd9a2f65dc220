import { join } from "node:path";
import { startIngressProcess, type IngressProcess } from "../../../scripts/lib/ingress-process.ts";
import { tempDir } from "../temp-dir.ts";
import { HOST_SUFFIX, SECURE_HOST_SUFFIX } from "../../../scripts/lib/browser/browser.ts";

/**
 * How a request reaches the application: `uri` is the URI form with `strip`; in `told` the application is told the prefix that
 * it does not see, in `keep` it sees it.
 */
export type Form = "direct" | "host" | "uri" | "keep" | "told";

/** What a sandbox asks of the ingress, by annotation. */
export type Settings = Readonly<
  Partial<Record<"host-header" | "origin-header", "upstream" | "preserve" | "localhost">>
>;

/** Where an application is for its client. */
export interface Place {
  /** `http://<host>:<port>`, no slash at its end. */
  readonly origin: string;
  /** The path in front of the application's own; empty: none. No slash at its end. */
  readonly prefix: string;
  /** The same place by the ingress's address, with the sandbox in a header where the form is the host form. */
  readonly headerRoute: { readonly origin: string; readonly headers: Readonly<Record<string, string>> };
}

export interface PlaceOptions {
  readonly form: Form;
  readonly settings: Settings;
  /** The application's on 127.0.0.1. */
  readonly port: number;
  /** The browser treats the place as one with TLS. */
  readonly isSecure?: boolean;
}

/** Two ingresses, one in each mode, in front of applications on 127.0.0.1. */
export interface AppStage extends AsyncDisposable {
  /** Makes an application reachable, as a sandbox of its own. */
  place(options: PlaceOptions): Promise<Place>;
  /** What the ingresses wrote, for a person who looks for a fault. */
  readOutput(): string;
}

/** The name of the sandbox that has these settings. */
function nameSandbox({ form, settings }: Pick<PlaceOptions, "form" | "settings">): string {
  const words = Object.entries(settings).map(([name, value]) => `${name.charAt(0)}-${value}`);
  return ["app", form, ...words].join("-");
}

/** The path under which an application is found that has to know it; empty: it need not know one. */
export function toldPrefix({ form, settings, port }: PlaceOptions): string {
  return form === "keep" || form === "told" ? `/${nameSandbox({ form, settings })}/${port}` : "";
}

/** Starts both ingresses with the sandboxes that these settings need. */
export async function startAppStage(binary: string, combinations: readonly Settings[]): Promise<AppStage> {
  const manifests = tempDir();
  const ingresses: IngressProcess[] = [];
  const stop = async (): Promise<void> => {
    await Promise.all(ingresses.map((ingress) => ingress[Symbol.asyncDispose]()));
    manifests[Symbol.dispose]();
  };
  try {
    for (const form of ["host", "uri", "keep", "told"] as const) {
      for (const settings of combinations) await writeManifest(manifests.path, form, settings);
    }
    for (const mode of ["header", "uri"]) {
      ingresses.push(await startIngressProcess(binary, [`--manifests=${manifests.path}`, `--mode=${mode}`]));
    }
  } catch (error) {
    await stop();
    throw error;
  }
  const [header, uri] = ingresses.map((ingress) => ingress.origin);
  return {
    place: (options) => Promise.resolve(findPlace(options, { header: header ?? "", uri: uri ?? "" })),
    readOutput: () => ingresses.map((ingress) => ingress.readOutput()).join("\n"),
    [Symbol.asyncDispose]: stop,
  };
}

async function writeManifest(folder: string, form: Form, settings: Settings): Promise<void> {
  const name = nameSandbox({ form, settings });
  const annotations: Record<string, string> = {
    "sandbox.opensandbox.io/endpoints": JSON.stringify(["127.0.0.1"]),
    ...(form === "keep" ? { "ingress.opensandbox.io/uri-prefix": "keep" } : {}),
  };
  for (const [setting, value] of Object.entries(settings)) annotations[`ingress.opensandbox.io/${setting}`] = value;
  const manifest = {
    apiVersion: "sandbox.opensandbox.io/v1alpha1",
    kind: "BatchSandbox",
    metadata: { name, namespace: "apps", annotations },
    status: { replicas: 1, ready: 1, phase: "Succeed" },
  };
  await Bun.write(join(folder, `${name}.json`), JSON.stringify(manifest));
}

function findPlace(options: PlaceOptions, origins: { header: string; uri: string }): Place {
  const { form, settings, port, isSecure = false } = options;
  const suffix = isSecure ? SECURE_HOST_SUFFIX : HOST_SUFFIX;
  const name = nameSandbox({ form, settings });
  const direct = `http://127.0.0.1:${port}`;
  switch (form) {
    case "direct":
      return { origin: direct, prefix: "", headerRoute: { origin: direct, headers: {} } };
    case "host": {
      const route = `${name}-${port}`;
      const headers = { "OpenSandbox-Ingress-To": route };
      const origin = `http://${route}.${suffix}:${new URL(origins.header).port}`;
      return { origin, prefix: "", headerRoute: { origin: origins.header, headers } };
    }
    case "uri":
    case "keep":
    case "told": {
      const prefix = `/${name}/${port}`;
      // A name, as people have: servers trust addresses of loopback.
      const origin = `http://ingress.${suffix}:${new URL(origins.uri).port}`;
      return { origin, prefix, headerRoute: { origin: origins.uri, headers: {} } };
    }
  }
}
