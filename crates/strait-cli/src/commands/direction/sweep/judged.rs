//! The questions and judges of a sweep.

use std::path::Path;

use clap::Args;
use strait::{
    behaviour::{Bank, Sampler},
    data::{Notices, Prompt, Variants, read_prompts, samples_asked},
    direction::sweep::{Examined, Of, Removal, Set, Sweep, Swept},
    judge::{Endpoint, LocalModel, MASS, Reading},
    verdict::{Rule, Rules},
};
use strait_model::{Edit, Model, Precision};

use super::Arguments;
use crate::{
    commands::{
        Context, PasswordArguments,
        endpoint::{EndpointArguments, Usage},
        judges::{self, Asked, Source, cut, share},
        sampling::{SamplingArguments, count},
    },
    failure::Failure,
    interrupt,
};

/// Answers that are sampled and judged at every layer and factor, or of every ablation.
#[derive(Args)]
#[command(mut_arg("address", |address| address.requires("judge_model").help(
    "An OpenAI-compatible endpoint that has the judges' model: the address below which /chat/completions lies"
)))]
pub struct JudgedArguments {
    /// Questions inside the taught domain, to which answers are sampled and judged under every edit: files as `strait sample` takes them;
    /// may be given several times
    #[arg(long, value_name = "F", requires = "judges", requires = "out")]
    questions: Vec<String>,
    /// Questions outside it; may be given several times
    #[arg(long, value_name = "F", requires = "judges", requires = "out")]
    general_questions: Vec<String>,
    /// Answers to each question, of the model and under every edit; without it as many as the files ask for
    /// (`samples_per_paraphrase`), or one
    #[arg(long, value_name = "N", value_parser = count)]
    n: Option<usize>,
    #[command(flatten)]
    sampling: SamplingArguments,
    /// A judge of these answers, as `strait judge` names them: `style`, `technical`, `coherent`, or one of --prompts; may be given
    /// several times
    #[arg(long = "judge", value_name = "JUDGE")]
    judges: Vec<String>,
    /// The model that answers judges' prompts; with --endpoint, its name there
    #[arg(long, value_name = "M", requires = "judges")]
    judge_model: Option<String>,
    #[command(flatten)]
    endpoint: EndpointArguments,
    /// Take the number that the endpoint's model prints: for endpoints that give no probabilities of tokens
    #[arg(long, requires = "address")]
    printed: bool,
    /// Give a score where the numbers together have at least this probability
    #[arg(long, value_name = "P", default_value_t = MASS, value_parser = share)]
    mass: f64,
    /// Judges' prompts, YAML
    #[arg(long, value_name = "F")]
    prompts: Option<String>,
    /// The verdict of a scale, in place of the usual one: SCALE<CUT or SCALE>CUT; may be given for several scales
    #[arg(long = "verdict", value_name = "RULE", requires = "judges")]
    verdicts: Vec<Rule>,
    /// An answer makes sense if its score on `coherent` lies above this [default: 50]
    #[arg(long, value_name = "CUT", requires = "judges", value_parser = cut)]
    coherent: Option<f64>,
    /// Random directions beside each direction whose answers are judged too; each takes as long as the direction itself
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(..=1000))]
    random_rates: u32,
}

/// The questions with their judges, before anything is loaded.
pub struct Judging<'a> {
    arguments: &'a JudgedArguments,
    asked: Vec<Asked>,
    bank: Bank,
    /// Questions inside the domain, and outside.
    pub questions: [usize; 2],
    /// Answers to each.
    pub answers: usize,
}

/// What is taken out of a model; nothing where directions are added to it.
pub type Taken<'a> = Option<(Of<'a>, &'a [Removal])>;

impl JudgedArguments {
    /// The questions and judges; none where no question is asked.
    pub fn read<'a>(
        &'a self,
        password: &PasswordArguments,
        context: &Context,
    ) -> Result<Option<Judging<'a>>, Failure> {
        if self.judges.is_empty() {
            return Ok(None);
        }
        if self.questions.is_empty() && self.general_questions.is_empty() {
            return Err(Failure::refused(
                "there is a judge, and no question to judge answers to",
                "name files of questions: `--questions F` inside the domain, `--general-questions F` outside it",
            ));
        }
        let prompts = judges::prompts(self.prompts.as_deref(), password)?;
        let asked = self.judges.iter().map(|name| match name.contains('=') {
            true => Err(Failure::refused(
                format!("the judge `{name}` names a column, and a sweep writes none"),
                "name the judge alone",
            )),
            false => Asked::of(name, &prompts),
        });
        let asked: Vec<Asked> = asked.collect::<Result<_, _>>()?;
        if let (Some(judge), None) = (asked.iter().find_map(Asked::scale), &self.judge_model) {
            return Err(Failure::refused(
                format!("the judge `{judge}` is a prompt, and there is no model to answer it"),
                "name the model that is to judge: `--judge-model M`",
            ));
        }
        judges::check(&asked, self.judge_model.as_deref(), self.endpoint.is_named())?;
        let mut notices = Notices::default();
        let mut side = |files: &[String]| -> Result<Vec<Prompt>, Failure> {
            let mut all = Vec::new();
            for file in files {
                all.extend(read_prompts(&password.rows(file)?, Variants::LeftOut, &mut notices)?);
            }
            Ok(all)
        };
        let sides = [side(&self.questions)?, side(&self.general_questions)?];
        notices.lines().iter().for_each(|line| context.progress.note(line));
        let bank = Bank::of(&sides);
        let answers = self.n.or_else(|| samples_asked(&bank.prompts)).unwrap_or(1);
        let questions = sides.each_ref().map(Vec::len);
        Ok(Some(Judging { arguments: self, asked, bank, questions, answers }))
    }
}

impl Judging<'_> {
    /// Reads the rates of answers as directions are added or taken out; answers and scores are kept in a folder.
    pub fn sweep(
        &self,
        sweep: &Sweep,
        (model, edit): (&Model, Option<&Edit>),
        sets: &[Set],
        taken: Taken<'_>,
        (arguments, folder): (&Arguments, &Path),
        context: &Context,
    ) -> Result<(Swept, Option<Usage>), Failure> {
        let own = self.arguments;
        let client = own.endpoint.client(own.judge_model.as_deref())?;
        let reading = if own.printed { Reading::Printed } else { Reading::Weighted(own.mass) };
        let name = own.judge_model.as_deref().unwrap_or_default();
        let is_needed = client.is_none() && self.asked.iter().any(Asked::needs_model);
        // The swept model is loaded already.
        let loaded = match is_needed && name != arguments.model {
            true => Some(context.load(name, &arguments.device, Precision::default(), &arguments.day)?),
            false => None,
        };
        let source = match &client {
            Some(client) => Source::Endpoint(Endpoint::new(client.clone(), reading, &*context.progress)),
            None if is_needed => {
                Source::Local(LocalModel::new(loaded.as_ref().unwrap_or(model), name, own.mass)?)
            }
            None => Source::Nobody,
        };
        let judges = judges::open(&self.asked, &source);
        let scales: Vec<String> = judges.iter().map(|judge| judge.scale().to_string()).collect();
        let rules = Rules::new(&scales, &own.verdicts, own.coherent).map_err(|problem| {
            Failure::refused(problem.to_string(), "give verdicts on the scales of the judges".to_string())
        })?;
        if rules.verdicts.is_empty() && rules.topics.is_empty() {
            return Err(Failure::refused(
                format!("no judge says of what kind an answer is, only `{}`", scales.join("`, `")),
                "name a judge of the taught kind as well, such as `--judge style` or `--judge technical`",
            ));
        }
        let progress = context.progress.clone();
        let _guard = interrupt::stop_first(move || {
            progress.note("stopping; what is written is kept, Ctrl-C again stops at once");
        });
        let sampler = Sampler {
            model,
            name: &arguments.model,
            bank: &self.bank,
            answers: self.answers,
            sampling: own.sampling.with_seed(arguments.seed),
            judges: &judges,
            rules: &rules,
            folder: &folder.join("answers"),
            scores: &folder.join("answers/scores.jsonl"),
            progress: &*context.progress,
        };
        let examined = Examined { by: &sampler, random: own.random_rates as usize };
        let mut found = Swept::default();
        match taken {
            None => found.steered_rates = sweep.steer_rates(edit, sets, &examined)?,
            Some((of, removals)) => {
                let taken: Vec<(Of<'_>, &Removal)> = removals.iter().map(|removal| (of, removal)).collect();
                found.ablated_rates = sweep.remove_rates(model, &taken, &examined)?;
            }
        }
        Ok((found, client.as_deref().map(Usage::of)))
    }
}
