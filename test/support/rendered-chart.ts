import type { Json } from "../../scripts/lib/kube/kube-api-server.ts";
import { type Config, parseConfig } from "../../src/config/parse-config.ts";
import { POD_MONITOR_VERSION, renderChart } from "./helm.ts";
import { dig } from "./kustomize.ts";

/** An array inside JSON, empty if it is something else. */
export const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);

/** The keys and values of an object inside JSON, none if it is something else. */
export const entriesOf = (value: unknown) => Object.entries(typeof value === "object" && value !== null ? value : {});

/** The objects of one set of values, with what tests ask of them. */
export class Rendered {
  readonly objects: readonly Json[];

  constructor(objects: readonly Json[]) {
    this.objects = objects;
  }

  all(kind: string): readonly Json[] {
    return this.objects.filter((object) => object["kind"] === kind);
  }

  /** The only object of its kind. */
  the(kind: string): Json {
    const [object, ...more] = this.all(kind);
    if (object === undefined || more.length > 0)
      throw new Error(`expected one ${kind}, found ${this.all(kind).length}`);
    return object;
  }

  get pod(): unknown {
    return dig(this.the("Deployment"), "spec", "template", "spec");
  }

  get container(): unknown {
    return dig(this.pod, "containers", 0);
  }

  get args(): readonly string[] {
    return listOf(dig(this.container, "args")).map(String);
  }

  /** What the program makes of the arguments. */
  get config(): Config {
    const parsed = parseConfig(this.args, {});
    if (parsed.kind !== "run") throw new Error(`the program refuses the arguments: ${JSON.stringify(parsed)}`);
    return parsed.config;
  }
}

/** Renders the chart for a cluster with the Prometheus Operator, unless said otherwise. */
export async function renderObjects(
  values: Json,
  options: { apiVersions?: readonly string[]; hooks?: true } = {},
): Promise<Rendered> {
  return new Rendered(await renderChart({ values, apiVersions: [POD_MONITOR_VERSION], ...options }));
}
