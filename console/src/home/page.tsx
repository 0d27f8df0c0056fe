import { SessionList } from "./session-list.tsx";

export function HomePage() {
  return (
    <div class="page">
      <SessionList />
    </div>
  );
}
