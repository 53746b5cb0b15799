import { Answer } from './answer';

export default function App() {
  return <Answer />;
}
