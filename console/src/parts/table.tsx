import type { ComponentChildren } from "preact";

export interface Column<Row> {
  readonly name: string;
  readonly of: (row: Row) => ComponentChildren;
  /** Numbers stand to the right. */
  readonly isAmount?: true;
}

interface Props<Row> {
  readonly label: string;
  readonly rows: readonly Row[];
  readonly keyOf: (row: Row, index: number) => string;
  readonly columns: readonly Column<Row>[];
}

/** A small table. Wide ones scroll inside of their panel. */
export function Table<Row>({ label, rows, keyOf, columns }: Props<Row>) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a part that scrolls must be reached by keys
    <section class="wide" tabIndex={0}>
      <table aria-label={label}>
        <thead>
          <tr>
            {columns.map(({ name, isAmount }) => (
              <th key={name} scope="col" class={isAmount ? "amount" : ""}>
                {name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row, index) => (
            <tr key={keyOf(row, index)}>
              {columns.map(({ name, of, isAmount }) => (
                <td key={name} class={isAmount ? "amount" : ""}>
                  {of(row)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}
