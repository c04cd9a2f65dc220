import { expect, test } from "bun:test";
import { CHART, RELEASE } from "../../support/helm.ts";
import { dig } from "../../support/kustomize.ts";
import { entriesOf } from "../../support/rendered-chart.ts";

test("the chart's program is this checkout's version, and the chart upgrades the existing chart 1.1.1", async () => {
  const chart: unknown = Bun.YAML.parse(await Bun.file(`${CHART}/Chart.yaml`).text());
  expect(dig(chart, "appVersion")).toBe(version);
  expect(Bun.semver.order(String(dig(chart, "version")), "1.1.1")).toBe(1);
  expect(dig(chart, "name")).toBe(RELEASE);
});

test("values.schema.json knows every value of values.yaml, and no other", async () => {
  const values: unknown = Bun.YAML.parse(await Bun.file(`${CHART}/values.yaml`).text());
  const schema: unknown = await Bun.file(`${CHART}/values.schema.json`).json();
  const known = keysOfSchema(schema).filter((key) => key !== "global");
  expect(known.toSorted()).toEqual(keysOfValues(values, schema).toSorted());
});

const { version }: { version: string } = await import("../../../package.json");

/** Paths of a schema down to what has no named properties. */
function keysOfSchema(schema: unknown, path = ""): readonly string[] {
  const properties = entriesOf(dig(schema, "properties"));
  if (properties.length === 0) return [path];
  return properties.flatMap(([key, inner]) => keysOfSchema(inner, path === "" ? key : `${path}.${key}`));
}

/** Paths of values, as deep as the schema names properties. */
function keysOfValues(values: unknown, schema: unknown, path = ""): readonly string[] {
  if (entriesOf(dig(schema, "properties")).length === 0) return [path];
  return entriesOf(values).flatMap(([key, inner]) =>
    keysOfValues(inner, dig(schema, "properties", key), path === "" ? key : `${path}.${key}`),
  );
}
