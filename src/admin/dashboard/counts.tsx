import type { Status } from "../status.ts";
import { formatCount } from "./format.ts";
import { Table } from "./table.tsx";

/** How often something happened, since the start and recently. */
export function Counts(props: {
  readonly title: string;
  readonly counts: Status["traffic"]["statuses"] | undefined;
  readonly labels: { readonly name: string; readonly none: string };
}) {
  const { title, counts = [], labels } = props;
  const id = title.toLowerCase();
  return (
    <section class="card" aria-labelledby={`${id}-title`}>
      <h2 id={`${id}-title`}>{title}</h2>
      {counts.length === 0 ? (
        <p class="dim">{labels.none}</p>
      ) : (
        <Table label={title}>
          <thead>
            <tr>
              <th scope="col">{labels.name}</th>
              <th scope="col" class="number">
                Last 10 s
              </th>
              <th scope="col" class="number">
                In all
              </th>
            </tr>
          </thead>
          <tbody id={id}>
            {counts.map(({ name, total, recent }) => (
              <tr key={name} data-name={name}>
                <th scope="row">{name}</th>
                <td class="number">{formatCount(recent)}</td>
                <td class="number">{formatCount(total)}</td>
              </tr>
            ))}
          </tbody>
        </Table>
      )}
    </section>
  );
}
