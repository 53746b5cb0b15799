import {
  CopilotChat,
  CopilotKitProvider,
  useFrontendTool,
  useInterrupt,
} from '@copilotkit/react-core/v2';
import { createClient } from '@rivulet/client';
import { RivuletAgent } from '@rivulet/client/ag-ui';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';

const threadId = 'example';
const agents = { default: new RivuletAgent({ client: createClient(), threadId }) };

function Chat() {
  useFrontendTool({
    name: 'language',
    description: "Says which language the user's browser is set to.",
    handler: async () => navigator.language,
  });
  useInterrupt({
    render: ({ resolve }) => (
      <button onClick={() => void resolve({ approved: true })}>Approve</button>
    ),
  });
  return <CopilotChat threadId={threadId} />;
}

createRoot(document.querySelector('main')).render(
  <StrictMode>
    <CopilotKitProvider selfManagedAgents={agents}>
      <Chat />
    </CopilotKitProvider>
  </StrictMode>,
);
