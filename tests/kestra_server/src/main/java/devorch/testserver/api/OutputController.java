package devorch.testserver.api;

import devorch.testserver.Dialect;

import io.kestra.core.exceptions.InternalException;
import io.kestra.core.models.executions.TaskRun;
import io.kestra.core.services.ExecutionOutputService;
import io.kestra.core.services.TaskOutputService;
import io.kestra.core.utils.ListUtils;
import io.kestra.core.utils.MapUtils;
import io.micronaut.context.annotation.Requires;
import io.micronaut.core.annotation.Introspected;
import io.micronaut.http.annotation.Controller;
import io.micronaut.http.annotation.Get;
import io.micronaut.scheduling.TaskExecutors;
import io.micronaut.scheduling.annotation.ExecuteOn;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.NoSuchElementException;

/** Outputs, which left the execution's own JSON with Kestra 2.0 (kestrapy 2.0, {@code outputs_api.py}). */
@Requires(property = Dialect.PROPERTY, value = "2.0")
@Controller("/api/v1/" + Tenant.MAIN + "/outputs")
@ExecuteOn(TaskExecutors.IO)
class OutputController {
    private final Executions executions;
    private final ExecutionOutputService flowOutputs;
    private final TaskOutputService taskOutputs;

    OutputController(Executions executions, ExecutionOutputService flowOutputs, TaskOutputService taskOutputs) {
        this.executions = executions;
        this.flowOutputs = flowOutputs;
        this.taskOutputs = taskOutputs;
    }

    /** A task run that has outputs. */
    @Introspected
    record TaskOutputInformation(String taskId, String taskRunId, String value, Integer iteration) {
    }

    @Get("/executions/{executionId}")
    Map<String, Object> ofExecution(String executionId) throws InternalException {
        return MapUtils.emptyOnNull(flowOutputs.getOutputs(executions.find(executionId)));
    }

    @Get("/tasks/{executionId}")
    List<TaskOutputInformation> ofTasks(String executionId) throws InternalException {
        List<TaskOutputInformation> result = new ArrayList<>();
        for (TaskRun run : ListUtils.emptyOnNull(executions.find(executionId).getTaskRunList())) {
            if (!taskOutputs.getOutputs(run).isEmpty()) {
                result.add(new TaskOutputInformation(run.getTaskId(), run.getId(), run.getValue(), run.getIteration()));
            }
        }
        return result;
    }

    @Get("/tasks/{executionId}/{taskRunId}")
    Map<String, Object> ofTask(String executionId, String taskRunId) throws InternalException {
        TaskRun run = ListUtils.emptyOnNull(executions.find(executionId).getTaskRunList()).stream()
            .filter(candidate -> candidate.getId().equals(taskRunId))
            .findFirst()
            .orElseThrow(() -> new NoSuchElementException("Task run '" + taskRunId + "' is not found."));
        return taskOutputs.getOutputs(run);
    }
}
