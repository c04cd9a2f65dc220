import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseImageSpec } from "../../../scripts/lib/image/dockerfile.ts";

const LAST_STAGE = `FROM base AS last
COPY --from=build --chmod=0755 /src/x /x
WORKDIR /
EXPOSE 1 2
USER 5:6
ENTRYPOINT ["./x", "-y"]
`;

test("parseImageSpec reads the last stage only", () => {
  expect(parseImageSpec(`ARG A=1\nFROM other AS build\nUSER 1:1\nRUN make\n\n# A remark.\n${LAST_STAGE}`)).toEqual({
    base: "base AS last",
    entrypoint: ["./x", "-y"],
    workdir: "/",
    user: "5:6",
    ports: [1, 2],
    copied: ["/x"],
  });
});

test("parseImageSpec joins continued lines and uses the last of equal instructions", () => {
  const spec = parseImageSpec(`${LAST_STAGE}USER 7:8\nLABEL a=b \\\n  c=d\nENTRYPOINT \\\n  ["./z"]\n`);
  expect(spec).toMatchObject({ user: "7:8", entrypoint: ["./z"] });
});

test("parseImageSpec refuses unknown and missing instructions", () => {
  expect(() => parseImageSpec(`${LAST_STAGE}VOLUME /data\n`)).toThrow("unknown instruction VOLUME");
  expect(() => parseImageSpec(LAST_STAGE.replace("USER 5:6\n", ""))).toThrow("no USER");
  expect(() => parseImageSpec(LAST_STAGE.replace('["./x", "-y"]', "./x"))).toThrow();
});

test("the Dockerfile pins every image by digest, and installs dependencies before the source is there", () => {
  const dockerfile = readFileSync(join(import.meta.dir, "../../../Dockerfile"), "utf8");
  const images = [...dockerfile.matchAll(/^FROM (?:--\S+ )?(\S+)/gm)].map((match) => match[1] ?? "");
  expect(images).toHaveLength(2);
  for (const image of images) expect(image).toMatch(/^[^:@]+:[^:@]+@sha256:[0-9a-f]{64}$/);
  expect(dockerfile.indexOf("RUN ./scripts/fetch")).toBeGreaterThan(0);
  expect(dockerfile.indexOf("RUN ./scripts/fetch")).toBeLessThan(dockerfile.indexOf("COPY src"));
});
