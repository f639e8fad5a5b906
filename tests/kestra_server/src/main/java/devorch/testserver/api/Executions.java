package devorch.testserver.api;

import com.fasterxml.jackson.annotation.JsonUnwrapped;

import devorch.testserver.Dialect;

import io.kestra.core.exceptions.InternalException;
import io.kestra.core.models.executions.Execution;
import io.kestra.core.models.executions.TaskRun;
import io.kestra.core.repositories.ExecutionRepositoryInterface;
import io.kestra.core.services.ExecutionOutputService;
import io.kestra.core.services.TaskOutputService;
import io.kestra.core.utils.ListUtils;
import io.kestra.core.utils.UriProvider;
import io.micronaut.core.annotation.Introspected;

import java.net.URI;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.NoSuchElementException;

import jakarta.inject.Singleton;

/** Finds executions and shows them in the dialect's way: 1.3 has the outputs in the execution itself. */
@Singleton
class Executions {
    private final ExecutionRepositoryInterface repository;
    private final ExecutionOutputService flowOutputs;
    private final TaskOutputService taskOutputs;
    private final UriProvider uris;
    private final Dialect dialect;

    Executions(
        ExecutionRepositoryInterface repository,
        ExecutionOutputService flowOutputs,
        TaskOutputService taskOutputs,
        UriProvider uris,
        Dialect dialect
    ) {
        this.repository = repository;
        this.flowOutputs = flowOutputs;
        this.taskOutputs = taskOutputs;
        this.uris = uris;
        this.dialect = dialect;
    }

    /** An execution with the address of its page. */
    @Introspected
    record WithUrl(@JsonUnwrapped Execution execution, URI url) {
    }

    Execution find(String id) {
        return repository.findById(Tenant.MAIN, id)
            .orElseThrow(() -> new NoSuchElementException("Execution '" + id + "' is not found."));
    }

    WithUrl show(Execution execution) {
        return new WithUrl(dialect.isOld() ? withOutputs(execution) : execution, uris.executionUrl(execution));
    }

    /** Results of a search carry no task runs since 2.0. */
    WithUrl showFound(Execution execution) {
        return show(dialect.isOld() ? execution : execution.withTaskRunList(null));
    }

    @SuppressWarnings("deprecation")
    private Execution withOutputs(Execution execution) {
        try {
            List<TaskRun> runs = new ArrayList<>();
            for (TaskRun run : ListUtils.emptyOnNull(execution.getTaskRunList())) {
                Map<String, Object> outputs = taskOutputs.getOutputs(run);
                runs.add(run.toBuilder().outputs(outputs).build());
            }
            return execution.withTaskRunList(runs).withOutputs(flowOutputs.getOutputs(execution));
        } catch (InternalException e) {
            throw new IllegalStateException(e);
        }
    }
}
