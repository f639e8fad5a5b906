package io.kestra.plugin.scripts.shell;

import io.kestra.core.models.annotations.Plugin;
import io.kestra.core.models.annotations.PluginProperty;
import io.kestra.core.models.property.Property;
import io.kestra.core.models.tasks.RunnableTask;
import io.kestra.core.models.tasks.runners.TaskRunner;
import io.kestra.core.runners.RunContext;
import io.kestra.plugin.core.runner.Process;
import io.kestra.plugin.scripts.exec.AbstractExecScript;
import io.kestra.plugin.scripts.exec.scripts.models.ScriptOutput;

import java.util.List;

import jakarta.validation.constraints.NotNull;
import lombok.Builder;
import lombok.EqualsAndHashCode;
import lombok.Getter;
import lombok.NoArgsConstructor;
import lombok.ToString;
import lombok.experimental.SuperBuilder;

/**
 * Stand-in for the task of Kestra's plugin-script-shell, which no package registry has, under its name. The runners are
 * Kestra's own; the default is Process, as for the stand-in of Python.
 */
@SuperBuilder
@ToString
@EqualsAndHashCode(callSuper = true)
@Getter
@NoArgsConstructor
@Plugin
public class Script extends AbstractExecScript implements RunnableTask<ScriptOutput> {
    /** Hides the Docker runner of the parent as the default. */
    @PluginProperty
    @Builder.Default
    @NotNull
    protected TaskRunner<?> taskRunner = Process.builder().type(Process.class.getName()).build();

    @Builder.Default
    protected Property<String> containerImage = Property.ofValue("ubuntu");

    @NotNull
    protected Property<String> script;

    @Override
    public ScriptOutput run(RunContext runContext) throws Exception {
        var commands = this.commands(runContext);
        return commands
            .withInterpreter(this.interpreter)
            .withBeforeCommands(beforeCommands)
            .withBeforeCommandsWithOptions(true)
            .withCommands(Property.ofValue(List.of(commands.render(runContext, script))))
            .run();
    }
}
